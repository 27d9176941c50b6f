"""What the recipes of the real benchmarks share: from a folder of data to one table."""
