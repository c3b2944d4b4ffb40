"""Parse selections and filters of the command line into predicates."""
