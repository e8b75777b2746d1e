// A model's products, or its whole layers, compiled beforehand for one chip: a folder that a phone starts
// from without a compiler.
//
//   manifest.json     what it was made for, its graphs and their files
//   0001.graph …      a compiled graph each (kept_graph.hpp); where graphs share one context, that of each is
//                     a few lines that name weights.bin
//   weights.bin       the shared context: weights once for all chunk lengths
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "offload/onnx/kept_graph.hpp"

namespace cairn::offload::onnx {

struct BundleGraph {
  std::string name;  // "blk.0.qkv"
  uint64_t key = 0;
  uint32_t tokens = 0;
  std::string file;
  uint64_t bytes = 0;        // of the file
  uint64_t in = 0, out = 0;  // that cross to the device and back when it runs
  uint32_t past = 0;         // whole layers: earlier positions that it has room for
};

struct Bundle {
  std::string folder;
  std::string model, scheme, chip;              // for people: what it was made of, as it was called then
  std::string fingerprint;                      // Device's
  uint32_t bits = 8;                            // of the weights
  std::string context{};                        // the shared context's file; empty: each graph has its own
  uint64_t context_bytes = 0, context_sum = 0;  // XXH3
  std::vector<BundleGraph> graphs{};

  std::vector<uint32_t> chunk_lengths() const;  // ascending
  uint64_t bytes() const;                       // of all its files but the manifest
  // What a chunk of so many tokens runs, all its graphs together: how many, and what crosses. Of whole layers
  // a chunk behind others.
  struct Chunk {
    uint32_t graphs = 0;
    uint64_t in = 0, out = 0;
  };
  Chunk chunk(uint32_t tokens) const;

  // Errors: not_found (no such folder, no manifest), format (a manifest that is none, a file that is missing,
  // cut or changed), unsupported (another version), naming folder, file and reason.
  static Bundle read(const std::string& folder);
  void write() const;  // the manifest, last of all
  // Null: it has no such graph.
  const BundleGraph* find(uint64_t key, uint32_t tokens) const;
};

}  // namespace cairn::offload::onnx
