#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "backends/cuda/device.hpp"
#include "formats/gguf.hpp"
#include "graph/graph.hpp"

namespace cairn::cuda {

// A model's weights in a GPU's memory: matrices in the file's encodings, in one piece, and what is small as
// floats.
class Weights {
 public:
  struct Matrix {
    const std::byte* data;
    Encoding encoding;
    uint32_t rows, k;
  };

  // Finds out what there is and where it will lie. stacked: matrices that are held elsewhere. Error
  // unsupported: an encoding that the library does not know.
  Weights(const Device& device, const gguf::File& file, const graph::Model& model, uint32_t context,
          const std::set<std::string>& stacked);
  // Errors: out_of_memory, as gguf::File::require_read.
  void upload(const std::shared_ptr<Device>& device);

  Matrix matrix(const std::string& name) const;
  const float* vector(const std::string& name) const { return memory_.as<float>(vectors_.at(name).offset); }
  float number(const std::string& name) const { return vectors_.at(name).values.front(); }
  const float* rope(const graph::Rope& rope) const;
  uint64_t bytes() const { return bytes_; }  // that they take

 private:
  struct Vector {
    std::vector<float> values;
    uint64_t offset = 0;
  };
  struct Placed {
    uint64_t offset = 0, bytes = 0;
    Encoding encoding{};
    uint32_t rows = 0, k = 0;
  };
  struct Rope {
    graph::Rope rope;
    uint64_t offset = 0;
  };
  void add(const Device& device, const graph::Op& op);
  void add_matrix(const Device& device, const std::string& name);
  void add_vector(const std::string& name);
  uint64_t place(uint64_t bytes);  // where so many more will lie

  const gguf::File& file_;
  const uint32_t context_;
  const std::set<std::string> stacked_;
  uint64_t bytes_ = 0;
  Memory memory_{};
  std::map<std::string, Placed> matrices_;
  std::map<std::string, Vector> vectors_;
  std::vector<Rope> ropes_;
};

// All ops of a model that is run without a layer that drafts, the embedding's first and the head's last.
template <class Body>
void each_op(const graph::Model& model, const Body& body) {
  for (const graph::Op& op : model.embed) body(op);
  for (const graph::Layer& layer : model.layers) {
    for (const graph::OpList& ops : layer) {
      for (const graph::Op& op : ops) body(op);
    }
  }
  for (const graph::Op& op : model.head) body(op);
}

// Error unsupported: an op that has no kernel, by its name.
void require_supported(const graph::Model& model, const std::string& path);

}  // namespace cairn::cuda
