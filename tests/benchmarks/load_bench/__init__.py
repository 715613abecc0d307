"""The load generator's targets, one file each; load.py prints their table."""
