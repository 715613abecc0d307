"""The search for the smallest workload and faults that a service does not stand."""
