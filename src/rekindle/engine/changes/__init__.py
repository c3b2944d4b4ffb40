"""Change detection: what attempts depended on, and what that is now."""
