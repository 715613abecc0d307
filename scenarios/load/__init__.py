"""The load side: it writes planned requests on time and records what came of each, in processes of its own."""
