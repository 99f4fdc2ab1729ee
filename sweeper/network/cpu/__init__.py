"""The hand-made CPU kernels that small networks train with. No other room imports numba."""
