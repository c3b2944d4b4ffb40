"""The command line. Commands read options, call the engine and print results; they decide nothing."""
