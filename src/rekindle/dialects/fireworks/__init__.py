"""FireWorks' workflow files, tasks and commands."""
