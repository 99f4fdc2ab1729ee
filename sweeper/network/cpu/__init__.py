"""Hand-written CPU kernels for training small networks, as torch modules. No other package imports numba."""
