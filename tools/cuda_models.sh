#!/bin/bash
# On a machine with an NVIDIA GPU: builds cairn with its CUDA library, runs the engine's tests on it and prints the table
# of whole models in docs/cuda.md; kernels alone are tools/cuda_check.sh's. With --binaries FOLDER nothing is built:
# cairn, libcairn_cuda.so, test_backends and gpu_measure are taken from there.
#   tools/cuda_models.sh [--binaries FOLDER] [--quick] [--work FOLDER]
# --quick: tests alone. --work: where models of random weights go (6 GB), a temporary folder if not given.
# CAIRN_CHECK_TEXT and CAIRN_CHECK_MODELS (files, with spaces between them) name a text and trained models whose
# perplexity is compared with the CPU's in floats.
set -u
cd "$(dirname "$0")/.."
binaries= quick= work=
while [ $# -gt 0 ]; do
  case $1 in
    --binaries) binaries=$2; shift 2 ;;
    --work) work=$2; shift 2 ;;
    --quick) quick=1; shift ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done
if [ -z "$binaries" ]; then
  cmake --preset release -DCAIRN_CUDA=ON && cmake --build --preset release && cmake --build --preset release --target gpu_measure || exit 1
  binaries=build/release
  tests=build/release/tests
fi
tests=${tests:-$binaries}
cairn=$binaries/cairn
export CAIRN_LIB=${CAIRN_LIB:-$binaries}
if [ -z "$work" ]; then
  work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
fi
failed=0
"$cairn" devices | grep '^cuda'
"$cairn" devices | grep -q '^cuda:0' || exit 1

check() {  # NAME PROGRAM ARGUMENT...
  local name=$1; shift
  if "$@" > "$work/$name.log" 2>&1; then
    echo "$name: $(grep -c '^\[       OK' "$work/$name.log") tests pass"
  else
    failed=1
    echo "$name: failed"
    grep -E '^\[  FAILED  \]|Failure' -A4 "$work/$name.log" | head -40
  fi
}

CAIRN_TEST_GPU=1 check engine "$tests/test_backends" --gtest_filter='CudaGolden*:CudaEngine*:CudaStack*'
check faults "$tests/test_backends" --gtest_filter='CudaFallback*'
[ -n "$quick" ] && exit $failed

shape=qwen2.5-1.5b
value() {  # NAME < JSON: the first number of that name
  grep -o "\"$1\": [0-9.]*" | head -1 | grep -o '[0-9.]*$'
}
bench() {  # MODEL NAME ARGUMENT...
  local model=$1 name=$2; shift 2
  "$cairn" bench "$model" --device cuda --json "$@" 2>> "$work/bench.err" | value "$name"
}
row() { printf '| %s | %s |\n' "$1" "$2"; }
for encoding in bf16 q4_0 q4_k; do
  "$cairn" synth --shape $shape --encoding $encoding -o "$work/$encoding.gguf" --force --quiet || exit 1
done
row "what ($shape)" "tokens a second"
row --- ---
for encoding in bf16 q4_0 q4_k; do
  row "decode $encoding" "$(bench "$work/$encoding.gguf" decode_tok_s --prompt 64 --generate 256 --repeat 3)"
done
for encoding in bf16 q4_0; do
  for prompt in 512 2048; do
    row "prefill $encoding, $prompt" \
      "$(bench "$work/$encoding.gguf" prefill_tok_s --prompt $prompt --chunk $prompt --generate 2 --repeat 3)"
  done
  "$cairn" bench "$work/$encoding.gguf" --device cuda --json --sequences 32 --prompt 64 --generate 64 --repeat 3 \
    > "$work/sequences.json" 2>> "$work/bench.err"
  row "32 sequences, $encoding" "$(value together_tok_s < "$work/sequences.json") ($(value ratio < "$work/sequences.json") times one)"
done

"$tests/gpu_measure" steps "$work/q4_0.gguf" | sed 's/^/| q4_0 | /; s/$/ |/'
# A stack of the same shape. Its groups of rows and its levels lie as a made one's do.
if "$tests/gpu_measure" stack "$work/q4_0.gguf" "$work/stack.gguf" 2>> "$work/bench.err"; then
  plain=$(bench "$work/q4_0.gguf" decode_tok_s --prompt 64 --generate 128 --repeat 3)
  for bits in 4 3 2; do
    "$cairn" trim "$work/stack.gguf" --bits $bits -o "$work/$bits.gguf" --force --quiet > "$work/trim" 2>&1
    row "stack at $bits bits" "$(bench "$work/$bits.gguf" decode_tok_s --prompt 64 --generate 128 --repeat 3) (q4_0: $plain)"
  done
  row "shrinking" "$("$tests/gpu_measure" shrink "$work/stack.gguf" 2>&1)"
fi

for model in ${CAIRN_CHECK_MODELS:-}; do
  for device in cuda cpu; do
    precision=standard
    [ $device = cpu ] && precision=f32
    "$cairn" eval "$model" --perplexity "${CAIRN_CHECK_TEXT:?}" --device $device --precision $precision \
      --limit "${CAIRN_CHECK_WINDOWS:-40}" --json 2>> "$work/bench.err" | value perplexity > "$work/$device"
  done
  row "perplexity $(basename "$model")" "$(cat "$work/cuda") (CPU in floats: $(cat "$work/cpu"))"
done
[ -s "$work/bench.err" ] && { echo "on standard error:"; head -20 "$work/bench.err"; }
exit $failed
