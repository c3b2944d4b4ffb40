"""The runner: it claims ready jobs, runs them on an executor, and ingests their outcomes and those of orphans."""
