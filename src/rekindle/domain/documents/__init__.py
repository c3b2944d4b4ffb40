"""JSON documents of jobs and attempts, and queries on them."""
