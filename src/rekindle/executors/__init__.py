"""Executors: where attempts run. An executor is known by its name and imported when it is used."""
