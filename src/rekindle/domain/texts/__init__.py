"""Texts that people write: values in them, quantities, command lines, patterns."""
