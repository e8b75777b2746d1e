// What an instruction set has: one object for each.
#pragma once

#include "kernels/conv.hpp"
#include "kernels/encode.hpp"
#include "kernels/gemm.hpp"
#include "kernels/kernels.hpp"
#include "kernels/planes.hpp"
#include "kernels/static_int8.hpp"
#include "kernels/train.hpp"
#include "kernels/vector.hpp"

namespace cairn::kernels {

struct KernelSet {
  Target target;
  const EncodingKernels* (*find)(Encoding);  // null for what is no encoding
  const VectorKernels& vector;
  const GemmKernels& gemm;
  const AttentionKernels& attention;
  const PlaneKernels& planes;
  const StaticKernels& exact;
  const EncodeKernels& encode;
  const ConvKernels& conv;
  const TrainKernels& train;
  const PeakKernels& peak;

  const EncodingKernels& encoding(Encoding encoding) const;  // Error unsupported: no such encoding
};

// Error unsupported: this build has no such instruction set.
const KernelSet& kernel_set(Target target);

}  // namespace cairn::kernels
