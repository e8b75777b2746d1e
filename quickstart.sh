#!/usr/bin/env bash
# From a fresh Debian or Ubuntu to an answer: installs what is missing, builds, pulls a small model, asks it.
set -euo pipefail
cd "$(dirname "$0")"

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  cat <<'HELP'
usage: ./quickstart.sh [--openvino] [--npu] [--grammar] [--link | --no-link] [QUESTION]

Installs the packages that are missing (with sudo unless you are root), builds the program as
build/release/cairn, pulls SmolLM2-135M-Instruct (98 MB, kept in ~/.cache/cairn/models or $CAIRN_MODELS)
and streams its answer to QUESTION with the rates of prefill and decode. On a terminal it offers a link in
~/.local/bin, so that `cairn` can be typed anywhere. Run again, it only answers.

  --link       makes that link without asking; --no-link does not ask

  --openvino   also installs OpenVINO (into ~/.cache/cairn/openvino, by pip), shows the devices that it finds
               and reads the question on openvino:CPU
  --npu        also installs ONNX Runtime and Qualcomm's NPU plug-in (into ~/.cache/cairn/onnx, by pip): the
               compiler for Snapdragon's Hexagon and, on a PC, its emulator (docs/npu.md); shows the devices
  --grammar    also fetches the sources of xgrammar (into ~/.cache/cairn, by pip) and builds what holds
               answers to JSON schemas and grammars (2 minutes of a processor)
HELP
  exit 0
fi
openvino=no npu=no grammar=no link=ask
while [[ ${1:-} == --* ]]; do
  case $1 in
    --openvino) openvino=yes ;;
    --npu) npu=yes ;;
    --grammar) grammar=yes ;;
    --link) link=yes ;;
    --no-link) link=no ;;
    *) echo "quickstart.sh: unknown flag $1 (see --help)" >&2 && exit 2 ;;
  esac
  shift
done
question=${1:-"Why is the sky blue? Answer in two sentences."}

source tools/packages.sh
install_missing "${build_packages[@]}"
targets=(cairn)
if [ "$grammar" = yes ]; then
  source tools/grammar.sh
  fetch_grammar
  targets+=(cairn_grammar_library)
fi
if [ ! -f build/release/build.ninja ]; then
  configure release -DCAIRN_TESTS=OFF
elif [ "$grammar" = yes ]; then
  configure release  # it may not have seen the sources
fi
! grep -q libcairn_cuda.so build/release/build.ninja || targets+=(cairn_cuda_library)
quietly "Building build/release/cairn" cmake --build --preset release --target "${targets[@]}"
build/release/cairn pull smollm2-135m >/dev/null
prefill=()
if [ "$npu" = yes ]; then
  source tools/npu.sh
  install_npu
  build/release/cairn devices
fi
if [ "$openvino" = yes ]; then
  source tools/openvino.sh
  install_openvino
  build/release/cairn devices
  prefill=(--prefill openvino:CPU)
fi

printf '\n> %s\n\n' "$question"
build/release/cairn run smollm2-135m -p "$question" -n 200 "${prefill[@]}"

# offer_link: `cairn` on the PATH, where nothing of that name is yet.
offer_link() {
  local target=$PWD/build/release/cairn place=$HOME/.local/bin/cairn answer=y
  if [ "$link" = no ] || [ -z "${HOME:-}" ] || [ "$(readlink -f "$place" 2>/dev/null)" = "$target" ]; then return; fi
  if [ -e "$place" ] || [ -L "$place" ]; then
    echo "$place is something else already: left alone" >&2
    return
  fi
  if [ "$link" = ask ]; then
    { [ -t 0 ] && [ -t 2 ]; } || return 0
    read -r -p "Link it as $place, so that you can type cairn anywhere? [Y/n] " answer
  fi
  case $answer in "" | [yYjJ]*) ;; *) return ;; esac
  mkdir -p "${place%/*}" && ln -s "$target" "$place"
  [[ :$PATH: == *:"${place%/*}":* ]] || echo "Put ${place%/*} into your PATH (a new login may do it)." >&2
}
printf '\n'
offer_link
program=build/release/cairn
if [ "$(command -v cairn || true)" = "$HOME/.local/bin/cairn" ]; then program=cairn; fi
cat <<NEXT
Go on with:   $program chat smollm2-135m
All commands: $program help
NEXT
