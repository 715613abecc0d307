"""One module for each command: `configure` adds its arguments, `handle` does it, EXAMPLES shows it."""
