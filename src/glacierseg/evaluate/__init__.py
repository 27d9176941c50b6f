"""How well a mask agrees with the truth: confusion counts, scores and forgiving boundary buffers."""
