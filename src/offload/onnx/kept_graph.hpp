// A compiled graph in a file, of the cache or of a bundle: its outputs' factors and the context as ONNX.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "offload/onnx/model.hpp"
#include "offload/sealed_file.hpp"

namespace cairn::offload::onnx {

struct KeptGraph {
  SealedFile file;
  std::vector<OutputScale> scales;
  std::span<const std::byte> model;
};

// What a graph must have been compiled for. fingerprint: Device's.
std::string graph_identity(const Int8Graph& graph, const std::string& fingerprint, WeightBits bits);

// As open_sealed; rows by linear must be the graph's.
std::optional<KeptGraph> read_kept(const std::string& path, const std::string& identity,
                                   const Int8Graph& graph, std::string* why);
void write_kept(const std::string& path, const std::string& identity, const std::vector<OutputScale>& scales,
                std::span<const std::byte> model);

}  // namespace cairn::offload::onnx
