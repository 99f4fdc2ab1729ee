"""Terminal output: the progress of a run, a network as a table."""
