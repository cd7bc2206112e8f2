"""The closed form in plain torch, for CPUs."""
