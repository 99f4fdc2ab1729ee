"""sweeper's own samplers, beside Optuna's."""
