"""Command line → search space, feasibility, initial points."""
