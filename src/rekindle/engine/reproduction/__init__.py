"""One attempt again, aside: read how it ran, compare that with today, run it in a folder of its own."""
