"""Small exact statistics: binomial intervals, bounds of quantiles, how many more would settle it, and a quantile
sketch.
"""
