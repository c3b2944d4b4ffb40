"""FRONT DOOR: spec files (YAML, JSON, TOML) and the Python API become a checked Definition."""
