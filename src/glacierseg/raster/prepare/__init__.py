"""Preparing rasters: a module and a function for each command of `glacierseg prepare`."""
