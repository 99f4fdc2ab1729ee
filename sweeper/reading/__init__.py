"""Studies read, not run: where they are, and all of them as one storage that nobody can write to."""
