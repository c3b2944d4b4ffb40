"""Looking: what there is, for whoever asks."""
