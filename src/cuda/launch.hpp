// cuda: libcairn_cuda.so: matrices and the ops of a model on a GPU, behind base/cuda_plugin.hpp. These are
// the launches that plan.cu makes of a list of commands; each belongs to one file of kernels.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "base/cuda_plugin.hpp"

namespace cairn::cuda {

// What a product reads instead of floats.
enum class Kind : int32_t {
  none,
  bytes,   // int8 with a scale for each 32, in the order of forms.cuh: for packed matrices
  half,    // two f16 that sum to x / scale
  bf16,    // two bf16 that sum to x
  planes,  // int8 with one scale a token, in the order of planes.cu
  // Of many tokens, [token][k rounded up to 64] 16 bits each, a group's 32 in the order in which fragments
  // have them:
  rows_half,    // f16 of x / scale
  rows_bf16,    // bf16
  rows_packed,  // f16 of x / scale, in the order of forms.cuh
};
constexpr bool has_scale(Kind kind) {  // one for each token
  return kind == Kind::half || kind == Kind::planes || kind == Kind::rows_half || kind == Kind::rows_packed;
}
constexpr bool is_rows(Kind kind) {
  return kind >= Kind::rows_half;
}

// Activations of `rows` tokens in tiles of 8, as B of mma.cuh: lane 4 · token + t of a tile has, of each
// group of 32, columns 4t … 4t + 3 and 16 + 4t …
//   bytes, planes: codes [tile][group / 4][lane][group % 4][2] words
//   half, bf16: codes [tile][step of 16][lane][2 upper, 2 lower] words of columns 2t, + 1 and 8 + 2t, + 1
struct Activations {
  uint32_t* codes;
  uint2* meta;    // bytes: [tile][group][token] scale, and sums of the first and the last 16 in 16 bits each
  float* scales;  // half, planes, rows_half, rows_packed: [token]
  uint32_t groups;  // a multiple of 8 for bytes, of 4 for planes, of 1 else
};

struct Stream {
  cudaStream_t stream;
  bool dependent;               // programmatic dependent launch
  int share;                    // of a processor that blocks which take several tiles fill, in percent
  bool plain;                   // no command goes together with others: what tests compare with
  uint32_t processors, shared;  // bytes of shared memory that a block can have
  const uint8_t* grids;
  cudaError_t error = cudaSuccess;  // the first

  template <class Arguments>
  void launch(void (*kernel)(Arguments), dim3 grid, dim3 block, size_t bytes, const Arguments& arguments) {
    if (error != cudaSuccess || grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    if (bytes > 40 * 1024) {  // with what kernels have beside it, 48 KB are free
      error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                   cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
      if (error != cudaSuccess) return;
    }
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = bytes;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = dependent ? 1 : 0;
    void* list[] = {const_cast<void*>(static_cast<const void*>(&arguments))};
    error = cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(kernel), list);
  }
};

// rows.cu: what is done to tokens one by one, and how they get ready for products.
enum class Load : int32_t { in, add, gate, activate };
enum class Norm : int32_t { none, rms, layer };
struct RowArguments {
  const float *in, *in2;
  uint32_t in_stride, in2_stride, rows, width;
  Load load;
  int32_t activation;
  float* loaded;  // or null, as all that is written
  uint32_t loaded_stride;
  Norm norm;
  const float *weight, *bias;
  float epsilon;
  float* normed;
  uint32_t normed_stride;
  const float *signs, *mix;
  uint32_t block;  // of the rotation; 0: none
  float* rotated;
  uint32_t rotated_stride;
  Kind kind;
  Activations prepared;
};
// Rows that have more features than fit in shared memory: only without a norm, a rotation, half and planes.
bool fits(const Stream& stream, const RowArguments& arguments);
void launch_rows(Stream& stream, const RowArguments& arguments);

// elements.cu
void launch_scale(Stream& stream, const CudaCommand& command);
void launch_softcap(Stream& stream, const CudaCommand& command);
void launch_take(Stream& stream, const CudaCommand& command);
void launch_norm_heads(Stream& stream, const CudaCommand& command);
void launch_rope(Stream& stream, const CudaStep& step, const CudaCommand* query, const CudaCommand* key,
                 const CudaCommand* store);

// attention.cu. partial: attention_floats() of scratch.
size_t attention_floats(const CudaCommand& command);
// query, key, store: all or none: what stands in front of it for one token, done on the way.
bool turns_with_attention(const CudaCommand& command, const CudaCommand& query, const CudaCommand& key,
                          const CudaCommand& store);
void launch_attention(Stream& stream, const CudaStep& step, const CudaCommand& command, float* partial,
                      Kind kind, const Activations& prepared, const CudaCommand* query = nullptr,
                      const CudaCommand* key = nullptr, const CudaCommand* store = nullptr);

// attention_chunk.cu: many tokens of one sequence; false: not of this shape, nothing was started.
bool launch_chunk_attention(Stream& stream, const CudaStep& step, const CudaCommand& command);

// matrices: embed.cu, pack.cu
bool has_form(uint32_t encoding);
bool is_float(uint32_t encoding);  // f16, bf16: their own form
// 0: unknown, or k is no multiple of the block's elements.
uint64_t matrix_bytes(uint32_t encoding, uint64_t rows, uint64_t k);
uint64_t file_row_bytes(uint32_t encoding, uint64_t k);
// rows of the file in device memory → rows [first, first + count) of the matrix; first a multiple of 16.
void launch_pack(Stream& stream, uint32_t encoding, uint64_t first, uint64_t count, uint64_t k,
                 const uint8_t* from, uint8_t* to);
void launch_embed(Stream& stream, const CudaStep& step, const CudaCommand& command, float factor);

// linear.cu: up to four products of one input and encoding in one launch.
struct Part {
  const uint8_t* weights;
  const float* bias;
  float* out;
  uint32_t out_stride, first_row, n, matrix_rows;
  float* sum;  // or null: what is added to, too
  uint32_t sum_stride;
};
// What a single token's products read where that is not prepared: each block makes it for itself.
struct Source {
  const float *in, *in2;  // 16-byte aligned
  Load load;
  int32_t activation;
  bool norm;            // by the root of the mean square
  const float* weight;  // or null
  float epsilon;
};
struct LinearArguments {
  Part parts[4];
  uint32_t first_block[4];  // of each; after the last of them UINT32_MAX
  uint32_t blocks;          // of 16 rows
  uint32_t rows, k;
  Activations x;
  Source source;    // where it has `in`: of one token
  const float* in;  // of those without prepared activations
  uint32_t in_stride;
  const uint8_t* grids;
};
constexpr uint32_t kMostParts = 4;
Kind kind_of(uint32_t encoding);
bool takes_source(uint32_t encoding);
void launch_linear(Stream& stream, uint32_t encoding, LinearArguments arguments, uint32_t parts);

// gemm.cu: the same of more than kCudaBatch tokens; x.codes as rows_… kinds have it. partial: gemm_floats()
// of scratch.
Kind gemm_kind_of(uint32_t encoding);  // none: not by gemm
size_t gemm_floats(const Stream& stream, const LinearArguments& arguments, uint32_t parts);
void launch_gemm(Stream& stream, uint32_t encoding, const LinearArguments& arguments, uint32_t parts,
                 float* partial);

// planes.cu
struct PlanesArguments {
  const CudaPlanes* planes[4];
  const float* bias[4];
  float* out[4];
  uint32_t out_stride[4];
  uint32_t first_block[4];
  uint32_t blocks;  // of 16 stored rows
  uint32_t rows, k, draft;
  Activations x;
  const float* plain;  // not rotated, or null
  uint32_t plain_stride;
  const uint8_t* grids;
};
void launch_planes(Stream& stream, const PlanesArguments& arguments, const uint32_t (&stored_rows)[4],
                   uint32_t parts);

}  // namespace cairn::cuda
