"""How well a mask agrees with the truth: counts, scores with intervals, distances, areas, reliability."""
