"""One file a noun: each reads its options, asks the engine, and has the answer shown."""
