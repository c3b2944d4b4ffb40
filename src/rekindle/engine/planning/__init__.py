"""What planning reads from the store, and the reruns that follow from how attempts end."""
