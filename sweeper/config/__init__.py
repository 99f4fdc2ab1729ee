"""The typed config schema, and composing and checking configs against it. Imports no torch."""
