"""Pixels with a place on Earth: grids, scenes, truth, checks, preparation and writing."""
