// The instruction sets that this build has kernels for, and the tables that targets/ defines for each.
#pragma once

#include "kernels/kernel_set.hpp"

// CAIRN_FOR_EACH_TARGET(X) expands X(name) for each; the names are those of Target and of the namespaces.
// CAIRN_PORTABLE_KERNELS: a build that has those alone.
#if defined(__x86_64__) && !defined(CAIRN_PORTABLE_KERNELS)
#define CAIRN_FOR_EACH_TARGET(X) X(portable) X(avx2) X(avxvnni) X(avx512) X(avx512vnni)
#elif defined(__aarch64__) && !defined(CAIRN_PORTABLE_KERNELS)
#define CAIRN_FOR_EACH_TARGET(X) X(portable) X(neon) X(neon_dotprod) X(neon_i8mm)
#else
#define CAIRN_FOR_EACH_TARGET(X) X(portable)
#endif

namespace cairn::kernels {

#define CAIRN_DECLARE_TARGET(target)                          \
  namespace target {                                          \
  /* nullptr when `encoding` is not one of encodings(). */    \
  const EncodingKernels* encoding_kernels(Encoding encoding); \
  const EncodeKernels& encode_table();                        \
  const ConvKernels& conv_table();                            \
  const GemmKernels& gemm_table();                            \
  const VectorKernels& vector_table();                        \
  const AttentionKernels& attention_table();                  \
  const PeakKernels& peak_table();                            \
  const StaticKernels& static_table();                        \
  const PlaneKernels& plane_table();                          \
  const TrainKernels& train_table();                          \
  }
CAIRN_FOR_EACH_TARGET(CAIRN_DECLARE_TARGET)
#undef CAIRN_DECLARE_TARGET

namespace avx512vbmi {
// What avx512vnni takes where the processor has more; nullptr for all other encodings.
const EncodingKernels* iq_encoding_kernels(Encoding encoding);
}  // namespace avx512vbmi

}  // namespace cairn::kernels
