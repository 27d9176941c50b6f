"""Products of catalogues: searched, chosen, and read no further than a place needs."""
