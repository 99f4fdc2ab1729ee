"""Confirmation: selected configs refit with fresh seeds on all training images, then measured once on the test set."""
