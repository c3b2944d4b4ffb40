"""LaunchPad: what scripts say to FireWorks, said to a store."""
