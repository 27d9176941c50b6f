"""Masks to outlines: polygons along pixel edges, smoothed ones, their attributes, and vector files."""
