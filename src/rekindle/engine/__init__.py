"""Connect the store, executors and journal to the domain rules."""
