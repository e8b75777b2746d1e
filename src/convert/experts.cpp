#include "convert/experts.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "base/error.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

constexpr uint64_t kPieceBytes = uint64_t{2} << 20;
constexpr uint64_t kCodeBytes = 16, kBlock = 32;  // of MXFP4

// A checkpoint's tensor as experts × outputs × inputs, in whichever order it has them.
struct SourceShape {
  uint64_t experts, outputs, inputs;
};

SourceShape source_shape(const SourceTensor& t, const TensorRule& rule) {
  const std::vector<uint64_t>& s = t.shape;
  if (rule.layout == Layout::mxfp4) return {s[0], s[1], s[2] * kBlock};
  if (rule.layout == Layout::transposed)
    return s.size() == 2 ? SourceShape{s[0], s[1], 1} : SourceShape{s[0], s[2], s[1]};
  return s.size() == 2 ? SourceShape{1, s[0], s[1]} : SourceShape{s[0], s[1], s[2]};
}

uint64_t count_of(const SourceShape& source, const TensorRule& rule) {
  return rule.outputs == Outputs::all ? source.outputs : source.outputs / 2;
}

// The checkpoint's output that becomes output `i`.
uint64_t source_output(uint64_t i, uint64_t count, Outputs outputs) {
  switch (outputs) {
    case Outputs::second_half:
      return i + count;
    case Outputs::even:
      return 2 * i;
    case Outputs::odd:
      return 2 * i + 1;
    default:
      return i;
  }
}

std::string layer_of(const TensorRule& rule) {
  return rule.to.substr(0, rule.to.find('.', 4));  // "blk.7"
}

void gather_heads(const SourceTensor& source, const TensorRule& rule, uint64_t first, uint64_t count,
                  std::vector<std::byte>& out) {
  const uint64_t columns = output_shape(source, rule).columns, size = source.element_bytes;
  out.resize(count * columns * size);
  std::byte* to = out.data();
  for (uint64_t row = first; row < first + count; ++row) {
    for (uint64_t i = 0; i < columns; ++i, to += size) {
      const SourcePlace at = place_in_heads(source, rule, row, i);
      std::copy_n(source.data.data() + (at.row * source.shape[1] + at.column) * size, size, to);
    }
  }
}

}  // namespace

std::optional<uint32_t> expert_count(const Config& config) {
  constexpr uint32_t kMost = 4096;
  std::optional<uint32_t> count;
  const char* name = "";
  for (const char* key : {"num_local_experts", "num_experts", "n_routed_experts"}) {
    if (count) break;
    count = config.find_integer(key);
    name = key;
  }
  const uint32_t used = experts_used(config);
  if (count.value_or(0) > kMost) config.error(name, fmt::format("is {}, more than {}", *count, kMost));
  if (count.value_or(0) != 0 && (used == 0 || used > *count))
    config.error("num_experts_per_tok", fmt::format("is {}, but there are {} experts", used, *count));
  return count;
}

uint32_t experts_used(const Config& config) {
  const char* key = config.find("num_experts_per_tok") ? "num_experts_per_tok" : "top_k_experts";
  return config.find_integer(key).value_or(0);
}

uint32_t need_experts(const Config& config) {
  const uint32_t count = expert_count(config).value_or(0);
  if (count == 0) config.error("num_experts", "is missing or 0 in a mixture of experts");
  return count;
}

std::string mxfp4_codes(const std::string& scales) {
  constexpr std::string_view kScales = "_proj_scales";
  return scales.ends_with(kScales) ? scales.substr(0, scales.size() - 6) + "blocks" : std::string();
}

void check_mxfp4(const std::string& file, const PlannedTensor& tensor) {
  const SourceTensor& codes = *tensor.source;
  if (!tensor.scale) fail(ErrorCode::format, "{}: tensor {} has no scales", file, quote(codes.name));
  for (const SourceTensor* t : {tensor.source, tensor.scale}) {
    if (t->dtype_name != "U8" && t->dtype_name != "F8_E8M0")
      fail(ErrorCode::unsupported, "{}: tensor {}: MXFP4 of kind {} is not read (U8 is)", file,
           quote(t->name), t->dtype_name);
  }
  const std::vector<uint64_t> expected(codes.shape.begin(), codes.shape.end() - 1);
  if (tensor.scale->shape != expected)
    fail(ErrorCode::format, "{}: tensor {} has shape {}, its blocks' says {}", file,
         quote(tensor.scale->name), shape_text(tensor.scale->shape), shape_text(expected));
}

std::vector<PlannedTensor> stack_experts(std::vector<PlannedTensor> tensors) {
  std::map<std::string, size_t> last;  // of each layer's experts
  std::map<std::string, std::map<std::string, PlannedTensor>> layers;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorRule& rule = *tensors[i].rule;
    if (rule.experts == 0) continue;
    last[layer_of(rule)] = i;
    std::vector<PlannedTensor>& experts = layers[layer_of(rule)][rule.to].experts;
    experts.resize(rule.experts);
    experts[rule.expert] = tensors[i];
  }
  std::vector<PlannedTensor> out;
  for (const PlannedTensor& t : tensors) {
    if (t.rule->layout == Layout::mxfp4) out.push_back(t);
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorRule& rule = *tensors[i].rule;
    if (rule.layout == Layout::mxfp4) continue;
    if (rule.experts == 0) {
      out.push_back(std::move(tensors[i]));
    } else if (last[layer_of(rule)] == i) {
      for (auto& [name, stacked] : layers[layer_of(rule)]) {
        stacked.source = stacked.experts[0].source;
        stacked.rule = stacked.experts[0].rule;
        out.push_back(std::move(stacked));
      }
    }
  }
  return out;
}

bool is_of_heads(const TensorRule& rule) {
  return rule.layout == Layout::head_rows || rule.layout == Layout::head_columns;
}

bool is_reshaped(const TensorRule& rule) {
  return rule.outputs != Outputs::all || rule.layout == Layout::transposed || is_of_heads(rule);
}

SourcePlace place_in_heads(const SourceTensor& source, const TensorRule& rule, uint64_t row,
                           uint64_t column) {
  const uint64_t each = source.shape[0] / rule.heads, rows = output_shape(source, rule).rows;
  const uint64_t first = row / rows * each + rule.head_first;
  if (rule.layout == Layout::head_rows) return {first + row % rows, column};
  return {first + column, row % rows};
}

OutputShape output_shape(const SourceTensor& source, const TensorRule& rule) {
  if (rule.layout == Layout::head_rows) return {rule.heads, rule.head_rows, source.shape[1]};
  if (rule.layout == Layout::head_columns) return {rule.heads, source.shape[1], rule.head_rows};
  const SourceShape s = source_shape(source, rule);
  return {s.experts, count_of(s, rule), s.inputs};
}

std::vector<uint64_t> PlannedTensor::shape() const {
  if (!rule->file_shape.empty()) return rule->file_shape;
  std::vector<uint64_t> out = source->shape;
  if (rule->squeezed) out.erase(out.begin() + 1);
  if (rule->layout == Layout::mxfp4 || is_reshaped(*rule)) {
    const OutputShape shape = output_shape(*source, *rule);
    if (is_of_heads(*rule)) return {shape.experts, shape.rows, shape.columns};
    if (out.size() == 2 && rule->layout == Layout::transposed) return {shape.experts, shape.rows};
    if (out.size() == 2) return {shape.rows, shape.columns};
    return {shape.experts, shape.rows, shape.columns};
  }
  if (!experts.empty()) out.insert(out.begin(), experts.size());
  return out;
}

void gather_outputs(const SourceTensor& source, const TensorRule& rule, uint64_t first, uint64_t count,
                    std::vector<std::byte>& out) {
  if (is_of_heads(rule)) return gather_heads(source, rule, first, count, out);
  const SourceShape s = source_shape(source, rule);
  const uint64_t rows = count_of(s, rule), size = source.element_bytes;
  out.resize(count * s.inputs * size);
  std::byte* to = out.data();
  for (uint64_t row = first; row < first + count; ++row) {
    const uint64_t expert = row / rows, output = source_output(row % rows, rows, rule.outputs);
    if (rule.layout != Layout::transposed) {
      std::memcpy(to, source.data.data() + (expert * s.outputs + output) * s.inputs * size, s.inputs * size);
      to += s.inputs * size;
      continue;
    }
    const std::byte* from = source.data.data() + (expert * s.inputs * s.outputs + output) * size;
    for (uint64_t i = 0; i < s.inputs; ++i, to += size, from += s.outputs * size) std::copy_n(from, size, to);
  }
}

void write_mxfp4(const PlannedTensor& tensor, const std::function<void(std::span<const std::byte>)>& sink) {
  const SourceShape s = source_shape(*tensor.source, *tensor.rule);
  const uint64_t rows = count_of(s, *tensor.rule), blocks = s.inputs / kBlock;
  std::vector<std::byte> piece;
  for (uint64_t row = 0; row < s.experts * rows; ++row) {
    const uint64_t from =
        (row / rows * s.outputs + source_output(row % rows, rows, tensor.rule->outputs)) * blocks;
    for (uint64_t b = from; b < from + blocks; ++b) {
      const std::byte* codes = tensor.source->data.data() + b * kCodeBytes;
      piece.push_back(tensor.scale->data[b]);
      // Byte j: elements 2j and 2j + 1 there, j and j + 16 here.
      for (uint64_t j = 0; j < kCodeBytes; ++j) {
        const auto code = [&](uint64_t element) {
          return (codes[element / 2] >> (element % 2 * 4)) & std::byte{15};
        };
        piece.push_back(code(j) | (code(j + kCodeBytes) << 4));
      }
    }
    if (piece.size() < kPieceBytes && row + 1 < s.experts * rows) continue;
    sink(piece);
    piece.clear();
  }
}

}  // namespace cairn::convert
