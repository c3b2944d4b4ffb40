"""Dynamic actions: what attempts do to the graph."""
