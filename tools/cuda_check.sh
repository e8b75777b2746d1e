#!/bin/bash
# On a machine with a GPU: builds libcairn_cuda.so, tests every kernel against loops in double precision, lets
# compute-sanitizer watch where it is installed, and measures whole steps (docs/cuda.md, "Figures").
#
#     tools/cuda_check.sh [BUILD_FOLDER] [bench_cuda's arguments…]
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}
shift || true
[ -d "$build" ] || cmake --preset release -DCAIRN_CUDA=ON
cmake --build "$build" --target cairn_cuda_library test_cuda_gpu bench_cuda -j"$(nproc)"
export CAIRN_CUDA_LIBRARY=$build/libcairn_cuda.so
nvidia-smi -L
"$build/src/cuda/test_cuda_gpu" --gtest_brief=1
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 1 "$build/src/cuda/test_cuda_gpu" --gtest_brief=1 \
      --gtest_filter='Ops*:Planes*:Fused*:*Attention*/0:*Linear*/q4_k:*Linear*/q4_0:*Linear*/bf16:*Linear*/q6_k'
  done
else
  echo "compute-sanitizer is not installed: memory and races were not watched"
fi
"$build/src/cuda/bench_cuda" "$@"
