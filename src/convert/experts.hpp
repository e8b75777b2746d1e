#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "convert/config.hpp"
#include "convert/names.hpp"

namespace cairn::convert {

// The experts of each layer that the config has; nullopt where it has no such key, 0 in a dense model whose
// class also has mixtures. Error format: more than any model has, or fewer than each token is said to use.
std::optional<uint32_t> expert_count(const Config& config);
// How many of them each token uses; 0 where the config does not say.
uint32_t experts_used(const Config& config);
// Of a mixture: 1 or more. Error format: it has none.
uint32_t need_experts(const Config& config);

// "….down_proj_scales" → "….down_proj_blocks"; empty for all else.
std::string mxfp4_codes(const std::string& scales);
// Errors name file and tensor: codes or scales that are no bytes, scales that are missing or of another
// shape.
void check_mxfp4(const std::string& file, const PlannedTensor& tensor);

// Puts the experts of a layer into one tensor, where the last of them was, and MXFP4's tensors in front: the
// converter's order.
std::vector<PlannedTensor> stack_experts(std::vector<PlannedTensor> tensors);

// Of a tensor that is cut or transposed (rule.outputs, Layout::transposed): rows × columns of the file, all
// experts' rows after another.
struct OutputShape {
  uint64_t experts, rows, columns;  // rows of each expert
};
bool is_reshaped(const TensorRule& rule);
bool is_of_heads(const TensorRule& rule);  // Layout::head_rows or head_columns
// Of such a rule, where in the checkpoint the file's element lies.
struct SourcePlace {
  uint64_t row, column;
};
SourcePlace place_in_heads(const SourceTensor& source, const TensorRule& rule, uint64_t row, uint64_t column);
OutputShape output_shape(const SourceTensor& source, const TensorRule& rule);
// Rows `first` … `first + count` of experts · rows, as the checkpoint's numbers.
void gather_outputs(const SourceTensor& source, const TensorRule& rule, uint64_t first, uint64_t count,
                    std::vector<std::byte>& out);
// GGUF's MXFP4 blocks of a tensor that check_mxfp4() passed.
void write_mxfp4(const PlannedTensor& tensor, const std::function<void(std::span<const std::byte>)>& sink);

}  // namespace cairn::convert
