"""torc's spec files and commands."""
