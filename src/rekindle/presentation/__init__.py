"""What people and scripts read, as text and as JSON documents: the same for the command line and the web."""
