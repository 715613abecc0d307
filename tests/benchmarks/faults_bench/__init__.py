"""The targets of the faults, a file each."""
