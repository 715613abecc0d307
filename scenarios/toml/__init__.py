"""Each section of a scenario file: its keys, their ranges, and what must agree between them."""
