"""Benchmarks: CPU time, best of 5, ratios in one run; and the experiments behind the figures in the docs."""
