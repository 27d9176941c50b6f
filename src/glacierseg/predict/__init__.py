"""Full-scene prediction: every pixel, blended over overlapping windows, in bounded memory."""
