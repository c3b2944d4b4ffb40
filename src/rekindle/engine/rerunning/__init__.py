"""What somebody asks for: reruns planned, applied, saved and taken back; cancel, hold and release."""
