"""JSON documents: what of a job, and of its attempts, makes one, and whether it is what a query asks for."""
