"""Optuna's dashboard over the studies that are there: what it serves, and what it says of each trial."""
