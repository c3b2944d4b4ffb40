"""CONTROL ROOM: the only place that wires IO to law."""
