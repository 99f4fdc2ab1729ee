"""Who runs a study's jobs."""
