#!/usr/bin/env bash
# What needs a GPU: the kernel's tests natively, then what docs/benchmarks.md shows of one.
#
#   pip install -e ".[bench,test]"
#   bash benchmarks/gpu.sh               about six minutes on an H100
#
# An image beyond 2^31 elements and CUDA graphs are among the tests.
set -euo pipefail
cd "$(dirname "$0")/.."
python -m pytest -q tests/backends/test_triton_{kernel,accuracy,operators}.py
python -m benchmarks speed --device cuda
python -m benchmarks overhead
python -m benchmarks training_step
