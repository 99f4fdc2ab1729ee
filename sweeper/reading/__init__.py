"""Studies read, not run: where each keeps its trials, and one storage opened read-only."""
