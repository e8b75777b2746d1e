# shellcheck shell=bash
# Sourced by CI: CUDA's compiler and its runtime's headers and archive, out of their Python packages, so that
# libcairn_cuda.so is compiled where CUDA is not installed. No driver and no GPU is needed for that.
#
#     . tools/cuda.sh; install_nvcc; export CUDACXX="$nvcc"

cuda_version=13.0
cuda_folder=${XDG_CACHE_HOME:-$HOME/.cache}/cairn/cuda-$cuda_version
nvcc=$cuda_folder/nvidia/cu13/bin/nvcc

# The packages are only unpacked: into a folder beside, which is renamed when it is whole. 87 MB are fetched, 271 MB
# lie there.
install_nvcc() {
  [ ! -x "$nvcc" ] || return 0
  local part=$cuda_folder.part package packages=()
  for package in nvcc crt runtime cccl; do packages+=("nvidia-cuda-$package==$cuda_version.*"); done
  rm -rf "$part"
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$part" "nvidia-nvvm==$cuda_version.*" \
    "${packages[@]}"
  rm -rf "$cuda_folder"
  mv "$part" "$cuda_folder"
}
