"""Other systems on the same work as rekindle. `make bench PEERS=1` installs what it can and measures."""
