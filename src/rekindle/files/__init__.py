"""Files and folders: digests, path patterns, and the modules that a function uses."""
