"""Hydra applications that know nothing of networks, which tests run as a user would."""
