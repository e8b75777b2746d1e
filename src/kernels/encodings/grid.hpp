// What the IQ encodings share: codes that are points of a grid, eight or four side by side, and their signs.
// Signs, a byte for each eight codes, and indices of more than 8 bits are unpacked once a block, before its
// steps (Open).
#pragma once

#include "kernels/encodings/lanes.hpp"
#include "kernels/grids.hpp"
#if CAIRN_ISA_X86
#include "kernels/encodings/grid_x86.hpp"
#else
#include "kernels/encodings/grid_portable.hpp"
#endif
