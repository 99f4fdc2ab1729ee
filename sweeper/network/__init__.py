"""The network: config → plan → summary → budget, diagnosis, repair, all without weights; `build` makes the module."""
