"""Corrections by hand: kept, and learned from."""
