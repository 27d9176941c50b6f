"""A run's folder: its layout, beginning and continuing it, and reading it."""
