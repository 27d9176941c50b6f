"""Outlines to an inventory: divides, attributes after RGI 7.0, hypsometry, uncertainty and links."""
