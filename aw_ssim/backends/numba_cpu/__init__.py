"""The closed form as one fused kernel in numba, for CPUs."""
