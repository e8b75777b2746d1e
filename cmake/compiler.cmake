# Which compiler builds cairn when nobody says (CXX in the environment and -DCMAKE_CXX_COMPILER do). Release
# builds prefer clang: g++ 12 spills the matrix products' accumulators to the stack, which halves their speed. The
# fuzzers' library is clang's.
if(NOT DEFINED CMAKE_CXX_COMPILER AND NOT DEFINED ENV{CXX} AND (CMAKE_BUILD_TYPE STREQUAL Release OR CAIRN_FUZZ))
  find_program(CAIRN_CLANG NAMES clang++-14 clang++)
  if(CAIRN_CLANG)
    set(CMAKE_CXX_COMPILER ${CAIRN_CLANG})
  endif()
endif()

find_program(CAIRN_CCACHE ccache)
if(CAIRN_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CAIRN_CCACHE})
endif()
