# Cross-compiles for ARM64 on Debian, with its multiarch packages (tools/packages.sh): clang with
# --target, or g++ where -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ asks for it. Built programs, the tests among them,
# run under QEMU's user emulation; QEMU_CPU in the environment names the processor.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

if(NOT DEFINED CMAKE_CXX_COMPILER)
  find_program(CAIRN_CLANG NAMES clang++-14 clang++ REQUIRED)
  set(CMAKE_CXX_COMPILER ${CAIRN_CLANG})
endif()
if(CMAKE_CXX_COMPILER MATCHES "clang")
  set(CMAKE_CXX_COMPILER_TARGET aarch64-linux-gnu)
endif()

# pkg-config knows nothing of multiarch: without this it answers for the machine that builds.
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)

if(CMAKE_HOST_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  return()
endif()
find_program(CAIRN_QEMU qemu-aarch64-static)
if(CAIRN_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${CAIRN_QEMU})
endif()
