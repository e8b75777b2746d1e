#!/usr/bin/env bash
# What is installed is enough to build with: check.sh symbols|headers|pkg-config|find-package BUILD SOURCE CXX
# Installs the library of BUILD into a folder of its own, moves that, and builds and runs the examples with nothing else.
set -euo pipefail
what=$1 build=$2 source=$3 cxx=$4
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cc=$(command -v cc || command -v gcc || command -v clang || command -v clang-14)

fail() {
  echo "check.sh: $*" >&2
  exit 1
}

for component in library development video; do
  cmake --install "$build" --prefix "$folder/first" --component "$component" >/dev/null
done
mv "$folder/first" "$folder/tree"
tree=$folder/tree
lib=$(dirname "$(find "$tree" -name libcairn.so)")
export LD_LIBRARY_PATH=$lib
model=$source/tests/data/golden_models/llama.gguf

# The examples in $1 answer as the program does.
run_examples() {
  "$build/cairn" run "$model" --raw -p "a stone" -n 16 --temperature 0 --no-stats | tr -d '\n' >"$folder/expected"
  [ -s "$folder/expected" ] || fail "the program answers nothing"
  "$1/answer" "$model" "a stone" 16 2>/dev/null | tr -d '\n' | cmp - "$folder/expected" || fail "answer.c answers otherwise"
  "$1/many" "$model" "a stone" "a stone" | tr -d '\n' | cmp - <(cat "$folder/expected" "$folder/expected") ||
    fail "many.cpp answers otherwise"
  if "$1/answer" "$source/README.md" x 2>"$folder/error"; then fail "README.md is no model"; fi
  grep -q "^answer: .*README.md" "$folder/error" || fail "no clear error: $(cat "$folder/error")"
  if "$1/chat" "$model" </dev/null >/dev/null 2>"$folder/error"; then fail "a model without a template chats"; fi
  grep -q "^chat: .*llama.gguf" "$folder/error" || fail "no clear error: $(cat "$folder/error")"
  [ -f "$tree/lib/cairn/libcairn_video.so" ] || return 0
  if "$1/frames" "$model" 2>"$folder/error"; then fail "a model is no video"; fi
  grep -q "^frames: .*llama.gguf" "$folder/error" || fail "no clear error: $(cat "$folder/error")"
}

flags=(-Wall -Wextra -Wno-missing-field-initializers -pedantic -Werror)
case $what in
  symbols)
    "$cc" -E -P -I "$tree/include" "$tree/include/cairn/cairn.h" | tr '\n;' ' \n' |
      sed -nE 's/.*visibility\("default"\).*[ *](cairn_[a-z0-9_]+)\(.*/\1/p' | sort >"$folder/declared"
    nm -D --defined-only --with-symbol-versions "$lib/libcairn.so" | awk '$2 != "A" { print $3 }' >"$folder/versions"
    sed 's/@@.*//' "$folder/versions" | sort >"$folder/exported"
    [ -s "$folder/declared" ] || fail "cairn.h declares nothing"
    diff "$folder/declared" "$folder/exported" || fail "libcairn.so does not export what cairn.h declares"
    if grep -v '@@CAIRN_[0-9.]*$' "$folder/versions"; then fail "these have no version"; fi
    readelf -d "$lib/libcairn.so" | grep -q 'SONAME.*\[libcairn\.so\.[0-9]*\]' || fail "libcairn.so has no SONAME"
    ;;
  headers)  # each alone
    for header in "$tree"/include/cairn/*.h "$tree"/include/cairn/*.hpp; do
      if [[ $header == *.h ]]; then
        "$cc" -std=c99 "${flags[@]}" -I "$tree/include" -x c -fsyntax-only "$header" 2>&1 | { ! grep -v 'pragma once'; }
      fi
      "$cxx" -std=c++17 -Wshadow "${flags[@]}" -I "$tree/include" -x c++ -fsyntax-only "$header"
    done
    ;;
  pkg-config)
    export PKG_CONFIG_LIBDIR=$lib/pkgconfig
    read -ra found < <(pkg-config --cflags --libs cairn)
    for example in "$source"/examples/*.c; do
      "$cc" -std=c99 "${flags[@]}" "$example" "${found[@]}" -o "$folder/$(basename "$example" .c)"
    done
    for example in "$source"/examples/*.cpp; do
      "$cxx" -std=c++17 -Wshadow "${flags[@]}" "$example" "${found[@]}" -o "$folder/$(basename "$example" .cpp)"
    done
    run_examples "$folder"
    ;;
  find-package)
    cmake -S "$source/examples" -B "$folder/build" -DCMAKE_PREFIX_PATH="$tree" -DCMAKE_C_COMPILER="$cc" \
      -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF >"$folder/log" || fail "$(cat "$folder/log")"
    cmake --build "$folder/build" >"$folder/log" || fail "$(cat "$folder/log")"
    unset LD_LIBRARY_PATH  # CMake has noted the place
    run_examples "$folder/build"
    ;;
  *) fail "$what: not one of symbols, headers, pkg-config, find-package" ;;
esac
