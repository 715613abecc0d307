"""The search for a service's capacity: pure decisions from what each probe showed."""
