"""The worker: runs attempts one at a time, and journals each event before it is reported."""
