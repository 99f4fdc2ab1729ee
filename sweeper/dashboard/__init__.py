"""The dashboard: optuna-dashboard for all studies, read-only, with a note and the files of every trial."""
