"""The network before it has weights: config → plan → summary → budget and diagnosis; `build` makes the module."""
