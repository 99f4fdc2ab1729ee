"""What the terminal shows: the progress of a run, a network as a table."""
