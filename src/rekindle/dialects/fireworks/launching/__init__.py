"""rlaunch and qlaunch: which fireworks are launched, where, and by whom."""
