"""The commands, one module a noun. Each reads its options, calls the engine, and prints the result."""
