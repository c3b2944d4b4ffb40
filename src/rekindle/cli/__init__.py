"""The command line: one file a noun. It reads words, calls the engine and draws the answer; it decides nothing."""
