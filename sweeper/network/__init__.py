"""The network without weights: config → plan → summary → budget, diagnosis, repair; and `build`, which makes it a torch module."""
