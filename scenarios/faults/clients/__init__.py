"""Faults that clients are: they run in a holder's process, never in a worker that measures."""
