"""Runs a search as an Optuna study: its storage and folder, its trials, the loop that runs them, the executors."""
