"""The proxy in the path of the planned requests: faults of the network and of answers."""
