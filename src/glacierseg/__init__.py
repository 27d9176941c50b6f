"""glacierseg."""
