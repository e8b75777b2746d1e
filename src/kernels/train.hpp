// Convolutions in float forwards and backwards, on planes: what overfitting a small network to a video needs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.hpp"

namespace cairn::kernels {

// Columns are computed in groups of kTrainColumns: rows of outputs must have room up to a multiple of it, and
// rows of inputs be readable that far (beyond it: kernel - 1 more). What lies there is computed, and garbage.
constexpr size_t kTrainColumns = 32;

// `channels` planes, `plane` floats apart, of rows `stride` floats apart.
struct TrainPlanes {
  float* data;
  size_t stride, plane;
};

// A square kernel without padding: output (y, x) sees input rows y … y + kernel - 1 and likewise columns.
struct TrainShape {
  uint32_t in, out, kernel;
  size_t rows, columns;  // of the output
};

struct TrainKernels {
  // out[o] = bias[o] + Σ weights · in, or out[o] += Σ weights · in when bias is null.
  // weights: [in][kernel][kernel][out].
  void (*convolve)(const TrainShape& shape, const TrainPlanes& in, const float* weights, const float* bias,
                   const TrainPlanes& out);
  // gradient[in][kernel][kernel][out] += Σ over the outputs of error[o] · in. Columns of `error` from
  // shape.columns up to the next multiple of kTrainColumns must be zero.
  void (*weight_gradient)(const TrainShape& shape, const TrainPlanes& in, const TrainPlanes& error,
                          float* gradient);
  // In place, n values: max(x, 0), and when levels > 0 rounded to multiples of limit / levels and clamped at
  // limit. n is a multiple of kTrainColumns.
  void (*rectify)(float* x, size_t n, float limit, float levels);
  // error = 0 where !(0 < output < limit), and from `columns` to the next multiple of kTrainColumns; one row.
  void (*rectify_backwards)(float* error, const float* output, size_t columns, float limit);
};

}  // namespace cairn::kernels
