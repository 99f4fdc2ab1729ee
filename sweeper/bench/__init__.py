"""Benchmarks of this machine: sweeper's training loop compared with that of the notebook that sweeper replaces."""
