"""The hand-made kernels: what a small network trains with on a CPU. Nothing else imports numba."""
