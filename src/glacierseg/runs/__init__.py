"""The layout of a run's folder, for those who write it and those who read it."""
