"""A search as an Optuna study: opened, coordinated, run on an executor, kept in a folder and a storage."""
