"""Convert a Snakefile to a spec. The Snakefile is read and not run."""
