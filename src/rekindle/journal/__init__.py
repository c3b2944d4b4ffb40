"""THE LEDGER: what a worker writes and the engine reads, and the orders that go the other way."""
