#!/usr/bin/env bash
# What needs a GPU: the kernel's tests natively, NVIDIA's checkers, then what docs/benchmarks.md shows.
#
#   pip install -e ".[bench,test]"
#   bash benchmarks/gpu.sh                     about eight minutes on an H100
#   DATA=data bash benchmarks/gpu.sh           also the paper's recipe on pill, from DATA/mvtec: longer
#
# An image beyond 2^31 elements and CUDA graphs are among the tests. What the tools compute-sanitizer and
# ncu say is printed, where they are installed; the rest goes into results/*_cuda.json.
set -euo pipefail
cd "$(dirname "$0")/.."
calls="python -m benchmarks.kernel_calls"
python -m pytest -q -n auto tests/backends/test_triton_{kernel,accuracy,operators}.py
if command -v compute-sanitizer > /dev/null; then
  compute-sanitizer --tool memcheck --error-exitcode 1 $calls
  compute-sanitizer --tool racecheck --error-exitcode 1 $calls
fi
if command -v ncu > /dev/null; then
  # Instructions of warps, the first-level cache's hits and use, what is written to the second, and issue.
  ncu -k tiles_kernel --metrics smsp__inst_executed.sum,l1tex__t_sector_hit_rate.pct,\
l1tex__throughput.avg.pct_of_peak_sustained_elapsed,lts__t_sectors_op_write.sum,\
smsp__issue_active.avg.pct_of_peak_sustained_active,gpu__time_duration.sum $calls 5 5 1080 1920
fi
python -m benchmarks speed --device cuda
python -m benchmarks overhead
python -m benchmarks training_step
if [ -n "${DATA:-}" ]; then
  python examples/mvtec_two_stage.py train --preset paper --data-root "$DATA/mvtec" --category pill \
    --run-folder runs/detection/pill-paper-gpu
fi
