"""The embassies: each reads another system's files and speaks its commands, over the engine's public calls only.

They hold no logic about running and rerunning. `cli.embassies` has the table of them; a dialect is imported when its
name is typed."""
