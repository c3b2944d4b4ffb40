"""Convert a Makefile to a spec. The Makefile is read and not run."""
