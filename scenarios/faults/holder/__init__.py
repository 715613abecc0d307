"""Faults that are held: by a process each, under a guardian, so that they end and are undone whatever happens."""
