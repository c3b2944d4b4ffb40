"""The journal that a worker writes and the engine reads, and the orders that the engine sends to a worker."""
