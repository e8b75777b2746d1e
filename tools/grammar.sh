# shellcheck shell=bash
# Sourced by quickstart.sh and test.sh: the sources of xgrammar, out of its Python package, where CMake looks for them
# (src/xgrammar/CMakeLists.txt).

xgrammar_version=0.2.9
xgrammar_sha256=87b466bca2475e29bb0323abc62c6c33cbcbcff47e5fb800a3e2099ac9620b90
xgrammar_folder=${XDG_CACHE_HOME:-$HOME/.cache}/cairn/xgrammar-$xgrammar_version

# The package is only unpacked: into a folder beside, which is renamed when it is whole.
fetch_grammar() {
  [ ! -d "$xgrammar_folder" ] || return 0
  quietly "Fetching the sources of xgrammar $xgrammar_version (2.8 MB, once) into $xgrammar_folder" unpack_grammar
}

unpack_grammar() {
  local part=$xgrammar_folder.part
  rm -rf "$part"
  mkdir -p "$part"
  printf 'xgrammar==%s --hash=sha256:%s\n' "$xgrammar_version" "$xgrammar_sha256" >"$part/requirements.txt" &&
    python3 -m pip download --disable-pip-version-check --no-deps --no-binary xgrammar --require-hashes \
      --dest "$part" -r "$part/requirements.txt" &&
    tar -xzf "$part/xgrammar-$xgrammar_version.tar.gz" -C "$part" &&
    mv "$part/xgrammar-$xgrammar_version" "$xgrammar_folder" &&
    rm -rf "$part"
}
