"""Find jobs whose attempts no longer match their inputs, definitions or needs."""
