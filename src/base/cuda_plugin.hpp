// The contract between cairn and libcairn_cuda.so: a GPU's memory, and lists of commands that run on it. A
// command is one of graph/'s ops with its places in that memory; whoever makes the list (backends/cuda) knows
// models and sequences, whoever runs it (cuda/) knows kernels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/plugin.hpp"

namespace cairn {

struct CudaDeviceInfo {
  char name[128];
  uint64_t memory, free;  // bytes
  int32_t capability;     // 90: 9.0
  int32_t processors;     // streaming multiprocessors
  int32_t driver;         // as cuDriverGetVersion has it: 13000
};

// Positions of a page of keys and values.
constexpr uint32_t kCudaPage = 64;
// Most rows of a list whose logits are, to the bit, those of one row after the other (Engine::rows()).
constexpr uint32_t kCudaRows = 8;
// Most rows of a list of many sequences' slices of up to kCudaRows tokens: what a row of a list of so many
// rows or fewer computes depends neither on the other rows nor on how many there are. Longer lists are one
// sequence's chunk.
constexpr uint32_t kCudaBatch = 64;

// Tokens of one sequence that stand one behind the other in a step's rows. In device memory, so that a list
// can be run again with others.
struct CudaSlice {
  uint32_t first_row, rows;  // rows 0: there is none, nothing is to be done
  uint32_t position;         // of the first
  uint32_t table;            // where in CudaStep::pages its pages begin
};

// What differs from step to step, in device memory.
struct CudaStep {
  const int32_t* tokens;     // [rows]
  const int32_t* positions;  // [rows]
  const CudaSlice* slices;
  const uint32_t* pages;     // numbers of pages, by slice and position / kCudaPage
};

enum class CudaOp : int32_t {
  embed,          // out[r] = row tokens[r] of the matrix
  take,           // out[r] = in[index[r]]: `weight` is int32 [rows]
  scale,          // out = in · factor
  add,            // out = in + in2
  norm_rms,       // of each of `heads` equal parts (0: the whole): in / sqrt(mean(in²) + epsilon) · weight;
                  // weight (float, [width / heads], or [width] with `own`) may be null
  norm_layer,     // (in − mean) / sqrt(variance + epsilon) · weight + bias
  rope,           // in place on in, of each head `dims` features from `offset` on: `weight` is float
                  // [context][2][dims / 2], cosines and sines of each position
  gate,           // out = activation(in) · in2
  activate,       // out = activation(in)
  softcap,        // out = factor · tanh(in / factor)
  rotate,         // out = in · Hadamard / sqrt(block) for each `block` features, after signs: `weight` is float
                  // [width], ±1, or null; `bias` is float [width / block]² M or null: then out, blocks one
                  // behind the other, becomes out[i][c] = Σ_j M[i][j] · out[j][c]
  store,          // keys (in) and values (in2) of the step's tokens go into their pages
  attention,      // out = softmax(q·kᵀ·factor, capped, causal, of the last `window` positions)·v of in and pages
  linear,         // out = in · Wᵀ + bias, W rows [first_row, first_row + n) of a matrix of upload()
  linear_planes,  // the same, W of a stack: see CudaPlanes; planes multiply in, exact rows in2 (in, not rotated)
};

// A stack's matrix: groups of rows, each with the planes that are in the device's memory. The structs are in
// device memory and may change between two steps.
struct CudaPlaneGroup {
  const void* planes[7];  // [tiles of 16 rows][k / 32][64 bytes], as kernels/planes.hpp has it
  const uint16_t* scales; // f16 [rows], of the level in use
  const uint16_t* draft_scales;  // … of `draft`
  const void* exact;      // rows in the encoding of `CudaPlanes::exact`, when level is kCudaExact
  int32_t level;          // 1 … 7, kCudaExact
  int32_t draft;          // 1 … 7: what a draft takes
  uint32_t first_row;     // stored
  uint32_t rows;
};
constexpr int32_t kCudaExact = 8;

struct CudaPlanes {
  const CudaPlaneGroup* groups;
  const int8_t* tables;         // T_1 … T_7, T_k of 2^k entries from 2^k − 2 on
  const uint32_t* destination;  // stored row → the source's row, UINT32_MAX: none
  uint32_t group_count, rows_per_group;
  uint32_t rows, k;
  uint32_t exact;               // GGUF's number of the encoding of exact rows
};

// Fields that an op does not use are 0.
struct CudaCommand {
  CudaOp op;
  int32_t activation;             // graph::Activation's number
  uint32_t rows;                  // tokens
  uint32_t width;                 // of an input row; linear: k
  uint32_t heads, kv_heads, head_size;
  uint32_t dims, offset, window, block;
  int32_t neox, own, draft;
  float factor, epsilon, cap;     // cap: of attention's scores, 0: none
  const float* in;                // [rows][in_stride] floats, as all of in, in2, out
  const float* in2;
  float* out;
  uint32_t in_stride, in2_stride, out_stride;
  const void* weight;             // linear, embed: of upload(); linear_planes: const CudaPlanes*
  const float* bias;
  uint32_t encoding;              // linear, embed: GGUF's number
  uint32_t matrix_rows;           // linear, embed: all of the matrix
  uint32_t first_row, n;          // linear: rows used
  // store, attention:
  // Page n of this layer begins at pages + n · page_bytes in 64 bits that may wrap around (page 0 need not be
  // there): [kv head][position][head_size] f16 keys, then values in the same order.
  std::byte* pages;
  uint64_t page_bytes;            // from one page to the next
  uint32_t slices, longest;       // most of them; no slice's last position + 1 is beyond `longest`
};

// libcairn_cuda.so's `cairn_cuda`. Functions return 0, an ErrorCode's number, or less than 0: kLost after a
// fault that ends the device's use by this process. `message` is then the one line to tell. Nothing is
// thrown. One thread at a time uses a device.
struct CudaPlugin {
  static constexpr const char* kLibrary = "libcairn_cuda.so";
  static constexpr const char* kName = "cairn_cuda";
  static constexpr int kOther = -2, kLost = -3;

  PluginHead head;
  // How many GPUs there are. Errors: unavailable's reason (no driver, one that is too old).
  int (*count)(int32_t* count, char* message, size_t size);
  int (*describe)(int32_t index, CudaDeviceInfo* info, char* message, size_t size);
  // Error unsupported: a GPU that is too old.
  int (*open)(int32_t index, void** device, char* message, size_t size);
  void (*close)(void* device);

  // Error out_of_memory.
  int (*allocate)(void* device, uint64_t bytes, void** memory, char* message, size_t size);
  int (*release)(void* device, void* memory, char* message, size_t size);  // it is free when this returns
  int (*free_memory)(void* device, uint64_t* free, uint64_t* all, char* message, size_t size);
  // In order with what runs; the host's bytes may change when the call returns.
  int (*upload)(void* device, void* to, const void* from, uint64_t bytes, char* message, size_t size);
  // Waits for what was started before.
  int (*download)(void* device, void* to, const void* from, uint64_t bytes, char* message, size_t size);
  int (*copy)(void* device, void* to, const void* from, uint64_t bytes, char* message, size_t size);

  // Matrices are kept in a form of the kernels' own, of the file's bits and as many bytes but for rounding.
  // Error unsupported: an encoding that is not known, a row that is not of whole blocks.
  int (*matrix_bytes)(uint32_t encoding, uint64_t rows, uint64_t k, uint64_t* bytes, char* message, size_t size);
  // from: the rows as the file has them. scratch: none.
  int (*upload_matrix)(void* device, uint32_t encoding, uint64_t rows, uint64_t k, const void* from, void* to,
                       char* message, size_t size);

  // Starts the commands, in order. key: not 0: lists of equal keys differ in nothing, and are launched as one
  // from the second time on; forget() lets go of what is kept for a key (0: of all).
  int (*run)(void* device, const CudaStep* step, const CudaCommand* commands, size_t count, uint64_t key,
             char* message, size_t size);
  int (*forget)(void* device, uint64_t key, char* message, size_t size);
  int (*wait)(void* device, char* message, size_t size);
  // Bytes that the plug-in has taken for itself (scratch, graphs' share not counted).
  uint64_t (*own_bytes)(const void* device);
  // Memory of the host that downloads reach without a copy beside it; it is there until more is asked for or the
  // device is closed. May be null.
  int (*staging)(void* device, uint64_t bytes, void** memory, char* message, size_t size);
};

}  // namespace cairn
