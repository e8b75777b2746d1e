# shellcheck shell=bash
# Sourced by quickstart.sh: OpenVINO's libraries, out of its Python package, where cairn looks for them.

openvino_version=2026.4.1
openvino_folder=${XDG_CACHE_HOME:-$HOME/.cache}/cairn/openvino

# The package is only unpacked (no Python of it is run): into a folder beside, which is renamed when it is whole.
install_openvino() {
  [ ! -d "$openvino_folder/openvino-$openvino_version.dist-info" ] || return 0
  local part=$openvino_folder.part
  rm -rf "$part"
  quietly "Installing OpenVINO $openvino_version (59 MB, once) into $openvino_folder" \
    python3 -m pip install --disable-pip-version-check --no-deps --target "$part" "openvino==$openvino_version"
  rm -rf "$openvino_folder"
  mv "$part" "$openvino_folder"
}
