"""The network before it has weights: config → plan → anatomy → budget and diagnosis; `build` makes the module."""
