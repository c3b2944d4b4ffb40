"""Dialects: read the files and commands of other systems through the engine's public calls.

Dialects contain no logic for running and rerunning. A dialect is imported when its name is typed.
"""
