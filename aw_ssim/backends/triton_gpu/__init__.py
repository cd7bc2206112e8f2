"""The closed form as one fused kernel in Triton, for GPUs."""
