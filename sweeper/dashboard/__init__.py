"""The dashboard: optuna-dashboard over all studies, read-only, with a note and the files of every trial."""
