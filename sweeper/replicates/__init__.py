"""Replicates: runs of given configs with several seeds each, trained on all cores, resumable, without a search."""
