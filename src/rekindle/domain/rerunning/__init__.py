"""The law of running again: what a rerun does to each job, and how it is taken back."""
