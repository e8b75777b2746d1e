// What a synthetic model's file holds; of synth.cpp alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/encoding.hpp"
#include "graph/model_shapes.hpp"

namespace cairn::gguf {
class Writer;
}

namespace cairn::measure {

enum class Role { matrix, plain, norm, bias, decay };  // plain: stays float

struct Planned {
  std::string name;
  Role role;
  std::vector<uint64_t> shape;
  Encoding encoding;

  uint64_t elements() const {
    uint64_t product = 1;
    for (const uint64_t length : shape) product *= length;
    return product;
  }
  uint64_t bytes() const { return elements() / info(encoding).block_elements * info(encoding).block_bytes; }
};

// Of models with Mamba-2 (ModelShape::kinds): the tensors, and the metadata that other models lack.
std::vector<Planned> plan_mamba2(const graph::ModelShape& shape, Encoding encoding);
void set_mamba2(gguf::Writer& writer, const graph::ModelShape& shape);

}  // namespace cairn::measure
