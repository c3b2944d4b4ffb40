"""Running: claims, workers, what their journals tell, and what dead runners leave."""
