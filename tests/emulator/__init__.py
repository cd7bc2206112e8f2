"""A GPU in software, on which the compiled Triton kernel is tested: README.md."""
