"""Ablations: what one change is worth on a network, over several seeds, in validation accuracy."""
