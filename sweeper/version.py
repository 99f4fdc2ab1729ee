"""The version of sweeper."""

__version__ = "0.1.0"
