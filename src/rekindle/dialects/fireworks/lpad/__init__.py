"""The commands of `lpad`."""
