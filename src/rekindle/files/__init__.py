"""What is on disk: what files and folders hold, and which modules a function is made of. Nothing is written here."""
