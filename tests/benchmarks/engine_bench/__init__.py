"""The parts of tests/benchmarks/engine.py: peers, models, load client, statistics, and one module for each target."""
