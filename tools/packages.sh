# shellcheck shell=bash disable=SC2034
# Sourced by quickstart.sh and test.sh: the packages that cairn needs on Debian (12, 13) and Ubuntu (24.04), and how to
# get the missing ones.

# Debian 12 has clang 14 alone; elsewhere the distribution's own clang, with the runtime of the same version.
clang_packages() {
  local clang=clang version
  if [ "$(. /etc/os-release 2>/dev/null && echo "${ID:-}${VERSION_ID:-}")" = debian12 ]; then clang=clang-14; fi
  version=${clang#clang-}
  if [ "$clang" = clang ]; then
    version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\).*/\1/p' | head -n 1)
  fi
  compiler_packages=("$clang")
  sanitizer_packages=(${version:+"libclang-rt-$version-dev"})
}
compiler_packages=() sanitizer_packages=()
clang_packages

build_packages=(
  "${compiler_packages[@]}" cmake ninja-build pkg-config
  libboost-dev libcli11-dev libcurl4-openssl-dev libfmt-dev libhwy-dev libpcre2-dev libedit-dev
  libssl-dev libicu-dev libutf8proc-dev libxxhash-dev libzip-dev nlohmann-json3-dev
  ca-certificates python3-pip
)
# `cairn video` is built where these are; nothing else needs them.
video_packages=(libavformat-dev libavcodec-dev libavutil-dev libswscale-dev libswresample-dev libsdl2-dev)
test_packages=(ffmpeg g++ "${sanitizer_packages[@]}" libgtest-dev libgmock-dev pybind11-dev python3-dev python3-pytest)

# For ARM64 on x86-64: g++ has the C++ library and the linker that clang takes as well; the libraries are Debian's of
# the other architecture, beside this machine's.
emulator_packages=(g++-aarch64-linux-gnu qemu-user-static)
foreign_packages=(libboost-dev libcurl4-openssl-dev libedit-dev libfmt-dev libhwy-dev libicu-dev libpcre2-dev libssl-dev
  libutf8proc-dev libxxhash-dev libzip-dev libgmock-dev libgtest-dev "${video_packages[@]}")
foreign_packages=("${foreign_packages[@]/%/:arm64}")

# configure PRESET [OPTION...]: with precompiled headers where the folder is new (cmake/compiler.cmake).
configure() {
  local preset=$1 headers=()
  shift
  [ -f "build/$preset/build.ninja" ] || headers=(-DCMAKE_DISABLE_PRECOMPILE_HEADERS=OFF)
  quietly "Configuring $preset" cmake --preset "$preset" "${headers[@]}" "$@"
}

# install_missing PACKAGE...: quick when nothing is missing.
install_missing() {
  local installed missing=() package native
  command -v dpkg-query >/dev/null || return 0  # another system: CMake says what is missing
  native=$(dpkg --print-architecture)
  installed=$(dpkg-query --show --showformat='${Package}:${Architecture} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
  for package in "$@"; do
    if [[ $package == *:* ]]; then
      grep -qx "$package installed" <<<"$installed" || missing+=("$package")
    else
      grep -qxE "${package//+/\\+}:($native|all) installed" <<<"$installed" || missing+=("$package")
    fi
  done
  [ ${#missing[@]} -gt 0 ] || return 0

  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
      echo "These Debian packages are missing and there is no sudo; install them as root: ${missing[*]}" >&2
      return 1
    }
    as_root=(sudo)
  fi
  local keep=()
  if [[ ${missing[*]} == *:arm64* ]]; then
    "${as_root[@]}" dpkg --add-architecture arm64
    keep=(--no-remove)  # rather nothing than this machine's own packages replaced
  fi
  echo "Installing ${#missing[@]} packages: ${missing[*]}" >&2
  local log
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get update -qq &&
         "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
           apt-get install -y -qq --no-install-recommends "${keep[@]}" "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    echo "apt-get could not install them; its last lines are above." >&2
    return 1
  fi
  rm -f "$log"
}

# quietly WHAT COMMAND...: one line while it runs; what it printed only when it fails.
quietly() {
  local what=$1 log started=$SECONDS
  shift
  log=$(mktemp)
  printf '%s ... ' "$what" >&2
  if ! "$@" >"$log" 2>&1 </dev/null; then
    echo "failed" >&2
    tail -n 60 "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
  echo "$((SECONDS - started)) s" >&2
}
