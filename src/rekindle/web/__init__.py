"""The HTTP interface of a store: see `rekindle serve`."""
