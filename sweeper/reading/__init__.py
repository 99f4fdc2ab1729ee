"""Reads studies without running them: finds their storages, and opens a storage read-only."""
