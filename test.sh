#!/usr/bin/env bash
# Builds and runs the tests.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
  cat <<'HELP'
usage: ./test.sh [--release] [--gcc] [--sanitize] [--thread] [--aarch64] [--aarch64-few] [--fuzz [SECONDS]] [--all] [--werror]

  --release    the release build, every test (this is what a plain ./test.sh does)
  --gcc        built by g++ instead of clang; without the tests on whole real models, like those below
  --sanitize   under the address and undefined-behaviour sanitizers
  --thread     the rooms that share work between threads, under the thread sanitizer
  --aarch64    cross-built for ARM64 and run under QEMU's user emulation, as three processors (docs/arm64.md)
  --aarch64-few  of these the kernels', text, graph and engine tests, as the best of the three
  --fuzz       the fuzzers, SECONDS each (60)
  --all        all of these but those for ARM64
  --werror     warnings are errors, as in CI

Installs missing packages (with sudo unless you are root), ONNX Runtime with Qualcomm's emulator (120 MB, by
pip, into ~/.cache/cairn/onnx), and pulls four models (0.9 GB). The last line tells how many tests passed and failed; the exit status is 0 when none failed.
HELP
}

modes=() options=()
fuzz_seconds=60
while [ $# -gt 0 ]; do
  case $1 in
    --release | --gcc | --sanitize | --thread | --aarch64 | --aarch64-few) modes+=("${1#--}") ;;
    --fuzz)
      modes+=(fuzz)
      if [[ ${2:-} =~ ^[0-9]+$ ]]; then fuzz_seconds=$2 && shift; fi
      ;;
    --all) modes=(release gcc sanitize thread fuzz) ;;
    --werror) options=(-DCAIRN_WERROR=ON) ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done
[ ${#modes[@]} -gt 0 ] || modes=(release)

source tools/packages.sh
source tools/grammar.sh
source tools/npu.sh
install_missing "${build_packages[@]}" "${video_packages[@]}" "${test_packages[@]}"
if [[ " ${modes[*]}" == *" aarch64"* ]]; then
  install_missing "${emulator_packages[@]}" "${foreign_packages[@]}"
fi

passed=0
failed=0
fetch_grammar || echo "xgrammar's sources cannot be fetched: grammars are neither built nor tested" >&2
jobs=$(nproc)

# The GPU's kernels are compiled wherever there is a compiler for them; for two generations, if there is no GPU.
if command -v "${CUDACXX:-nvcc}" >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; then
  options+=(-DCAIRN_CUDA=ON)
  nvidia-smi -L >/dev/null 2>&1 || options+=('-DCAIRN_CUDA_ARCHITECTURES=80;90')
fi

# build PRESET [TARGET...]
build() {
  local preset=$1 targets=()
  shift
  [ $# -eq 0 ] || targets=(--target "$@")
  if [ "$preset" = fuzz ]; then
    configure "$preset" "${options[@]}"
  else
    # The python3 that python3-pytest was installed for, whatever else is on the PATH.
    configure "$preset" -DCAIRN_TESTS=ON -DPython_EXECUTABLE=/usr/bin/python3 "${options[@]}"
  fi
  quietly "Building $preset" cmake --build --preset "$preset" "${targets[@]}"
}

# count_tests PRESET [CTEST OPTION...]: runs them and adds to the sums.
count_tests() {
  local preset=$1 log summary
  shift
  log=$(mktemp)
  ctest --preset "$preset" -j "$jobs" "$@" </dev/null 2>&1 | tee "$log" |
    grep --line-buffered -vE '^ *[0-9]+/[0-9]+ Test .* Passed |^ +Start +[0-9]+: ' || true
  summary=$(grep -E '^[0-9]+% tests passed, [0-9]+ tests failed out of [0-9]+' "$log" || true)
  rm -f "$log"
  if [[ $summary =~ ,\ ([0-9]+)\ tests\ failed\ out\ of\ ([0-9]+) ]]; then
    failed=$((failed + BASH_REMATCH[1]))
    passed=$((passed + BASH_REMATCH[2] - BASH_REMATCH[1]))
  else
    echo "$preset: ctest ran no tests" >&2
    failed=$((failed + 1))
  fi
}

# tell_what_is_not_here SUITE REASON: a suite that this machine has nothing to run on.
tell_what_is_not_here() {
  [[ $(ctest --preset release -N -R "$1") != *"Total Tests: 0"* ]] || echo "Not here, so not tested: $1: $2"
}

pull_models() {
  local model
  for model in smollm2-135m gemma3-270m all-minilm-l6-v2; do
    quietly "Pulling $model" "$1/cairn" pull "$model"
  done
  quietly "Pulling qwen2.5-coder-0.5b (491 MB)" "$1/cairn" pull qwen2.5-coder-0.5b || true  # told below
}

run_mode() {
  case $1 in
    release)
      build release
      pull_models build/release
      install_npu || true  # told below
      count_tests release
      tell_what_is_not_here LargeRealModel "qwen2.5-coder-0.5b is not pulled"
      tell_what_is_not_here RealOpenvino "OpenVINO is not installed (./quickstart.sh --openvino)"
      tell_what_is_not_here RealOnnx "ONNX Runtime and its QNN plug-in are not installed (./quickstart.sh --npu)"
      tell_what_is_not_here TorchTuner "cairn was built without libtorch (docs/stack.md)"
      tell_what_is_not_here XGrammar "xgrammar's sources are not here (tools/grammar.sh)"
      tell_what_is_not_here '^Python' "the python3 that CMake found has no pytest, or there is no pybind11"
      tell_what_is_not_here '^Browser' "published pages: chromium, chromium-driver and python3-selenium are not installed"
      tell_what_is_not_here MemoryCgroup "this user may not make a memory cgroup"
      tell_what_is_not_here Mpv "mpv or Xvfb is not installed"
      ;;
    gcc)
      build gcc
      count_tests gcc -E 'RealModel'
      ;;
    sanitize)
      build debug
      ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 count_tests debug -E 'RealModel'
      ;;
    thread)
      build thread test_base test_capi test_llm test_measure test_offload test_resident test_stack test_store
      TSAN_OPTIONS=halt_on_error=1 count_tests thread -L '^(base|capi|llm|measure|offload|resident|stack|store)$' -E 'RealModel'
      ;;
    aarch64) run_emulated ;;
    aarch64-few)
      build aarch64 test_kernels test_text test_graph test_engine
      QEMU_CPU=max count_tests aarch64 -L '^(kernels|text|graph|engine)$' -E "RealModel|$not_emulated"
      ;;
    fuzz) run_fuzzers ;;
  esac
}

# Built for ARM64 and run as three processors: with int8 matrix products, with dot products alone, with neither.
run_emulated() {
  local processor
  build aarch64
  QEMU_CPU=max count_tests aarch64 -E "RealModel|$not_emulated"
  for processor in neoverse-n1 cortex-a72; do
    QEMU_CPU=$processor count_tests aarch64 -L '^(kernels|backends|engine|offload)$' -E "RealModel|$not_emulated"
  done
}
# Limits that QEMU keeps to itself; /proc/cpuinfo, which is the machine's that emulates.
not_emulated='ThreadPoolTest.IsSmallerWhereTheSystemRefusesThreads|Dispatch.AgreesWithTheKernelsListOfFeatures'

# fuzz NAME: what it finds is added to build/fuzz/found/NAME.
fuzz() {
  local name=$1 corpora=("build/fuzz/found/$1") dictionary=()
  mkdir -p "${corpora[0]}"
  [ ! -d "fuzz/corpus/$name" ] || corpora+=("fuzz/corpus/$name")
  [ ! -f "fuzz/$name.dict" ] || dictionary=("-dict=fuzz/$name.dict")
  "build/fuzz/fuzz/fuzz_$name" -max_total_time="$fuzz_seconds" -timeout=25 -rss_limit_mb=2048 \
    -artifact_prefix="build/fuzz/found/" "${dictionary[@]}" "${corpora[@]}" >"build/fuzz/found/$name.log" 2>&1
}

# As many at once as there are processors.
run_fuzzers() {
  local fuzzers=(gguf model template checkpoint attachment) name first here
  build fuzz "${fuzzers[@]/#/fuzz_}"
  mkdir -p build/fuzz/found
  for ((first = 0; first < ${#fuzzers[@]}; first += jobs)); do
    here=("${fuzzers[@]:first:jobs}")
    local -A running=()
    for name in "${here[@]}"; do
      fuzz "$name" </dev/null &
      running[$name]=$!
    done
    echo "Fuzzing ${here[*]} for $fuzz_seconds s"
    for name in "${here[@]}"; do
      if wait "${running[$name]}"; then
        passed=$((passed + 1))
      else
        failed=$((failed + 1))
        echo "$name: failed; the last lines of build/fuzz/found/$name.log:"
        tail -n 60 "build/fuzz/found/$name.log"
      fi
    done
  done
}

for mode in "${modes[@]}"; do run_mode "$mode"; done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
