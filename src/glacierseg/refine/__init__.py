"""Post-processing of masks: fragments, gaps, smoothing, holes, and the search for good parameters."""
