# Which compiler builds cairn when nobody says (CXX in the environment and -DCMAKE_CXX_COMPILER do). Release
# builds prefer clang: g++ 12 spills the matrix products' accumulators to the stack, which halves their speed. The
# fuzzers' library is clang's. In pip's builds (SKBUILD) CXX is what Python was built with, which nobody chose.
if(NOT DEFINED CMAKE_CXX_COMPILER AND (SKBUILD OR NOT DEFINED ENV{CXX}) AND (CMAKE_BUILD_TYPE STREQUAL Release OR CAIRN_FUZZ))
  find_program(CAIRN_CLANG NAMES clang++-14 clang++)
  if(CAIRN_CLANG)
    set(CMAKE_CXX_COMPILER ${CAIRN_CLANG})
  endif()
endif()

# Precompiled headers or ccache: a precompiled header names its folder, so ccache would find nothing that another
# checkout has compiled. ccache is taken where it is installed; -DCMAKE_DISABLE_PRECOMPILE_HEADERS=OFF asks for
# the headers, the quicker way where nothing was compiled before (quickstart.sh and test.sh do in a new folder).
# Settled once for a folder: a ccache that is installed later would have everything compiled anew.
if(NOT DEFINED CMAKE_DISABLE_PRECOMPILE_HEADERS)
  find_program(CAIRN_CCACHE ccache)
  if(CAIRN_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CAIRN_CCACHE} CACHE STRING "before every call of the compiler")
  endif()
  if(CAIRN_CCACHE)
    set(CMAKE_DISABLE_PRECOMPILE_HEADERS ON CACHE BOOL "compile without precompiled headers")
  else()
    set(CMAKE_DISABLE_PRECOMPILE_HEADERS OFF CACHE BOOL "compile without precompiled headers")
  endif()
endif()
