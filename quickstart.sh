#!/usr/bin/env bash
# From a fresh Debian 12 to an answer: installs what is missing, builds, pulls a small model, asks it.
set -euo pipefail
cd "$(dirname "$0")"

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  cat <<'HELP'
usage: ./quickstart.sh [--openvino] [QUESTION]

Installs the Debian packages that are missing (with sudo unless you are root), builds the program as
build/release/cairn, pulls SmolLM2-135M-Instruct (98 MB, kept in ~/.cache/cairn/models or $CAIRN_MODELS)
and streams its answer to QUESTION with the rates of prefill and decode. Run again, it only answers.

  --openvino   also installs OpenVINO (into ~/.cache/cairn/openvino, by pip), shows the devices that it finds
               and reads the question on openvino:CPU
HELP
  exit 0
fi
openvino=no
if [ "${1:-}" = --openvino ]; then
  openvino=yes
  shift
fi
question=${1:-"Why is the sky blue? Answer in two sentences."}

source tools/packages.sh
install_missing "${build_packages[@]}"
if [ ! -f build/release/build.ninja ]; then
  configure release -DCAIRN_TESTS=OFF
fi
quietly "Building build/release/cairn" cmake --build --preset release --target cairn
build/release/cairn pull smollm2-135m >/dev/null
prefill=()
if [ "$openvino" = yes ]; then
  source tools/openvino.sh
  install_openvino
  build/release/cairn devices
  prefill=(--prefill openvino:CPU)
fi

printf '\n> %s\n\n' "$question"
build/release/cairn run smollm2-135m -p "$question" -n 200 "${prefill[@]}"
cat <<'NEXT'

Go on with:   build/release/cairn chat smollm2-135m
All commands: build/release/cairn --help
NEXT
