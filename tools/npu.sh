# shellcheck shell=bash
# Sourced by quickstart.sh and test.sh: ONNX Runtime and Qualcomm's plug-in, out of their Python packages, where cairn
# looks for them.

onnxruntime_version=1.32.0
qnn_version=2.7.0
onnx_folder=${XDG_CACHE_HOME:-$HOME/.cache}/cairn/onnx

# The packages are only unpacked (no Python of them is run): into a folder beside, which is renamed when it is whole.
install_npu() {
  [ ! -d "$onnx_folder/onnxruntime-$onnxruntime_version.dist-info" ] ||
    [ ! -d "$onnx_folder/onnxruntime_qnn-$qnn_version.dist-info" ] || return 0
  local part=$onnx_folder.part
  rm -rf "$part"
  quietly "Installing ONNX Runtime $onnxruntime_version and its QNN plug-in $qnn_version (120 MB, once) into $onnx_folder" \
    python3 -m pip install --disable-pip-version-check --no-deps --target "$part" \
    "onnxruntime==$onnxruntime_version" "onnxruntime-qnn==$qnn_version" || return 1
  rm -rf "$onnx_folder"
  mv "$part" "$onnx_folder"
}
