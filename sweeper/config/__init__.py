"""The typed config schema, and how overrides become a config that satisfies it. Imports no torch."""
