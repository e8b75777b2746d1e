#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "convert/checkpoint.hpp"
#include "convert/config.hpp"

namespace cairn::convert {

// What becomes of a tensor's rows and values.
enum class Layout : uint8_t {
  plain,
  // Rows of q or k, of `heads` heads: RoPE's pairs (i, i + d/2) of a head become neighbours (2i, 2i + 1).
  neighbours,
  plus_one,   // gemma's norms multiply by 1 + weight; files hold the sum
  minus_exp,  // decays of delta nets: files hold −e^x
  // Of experts. Columns become rows: [experts, inputs, outputs], or biases [experts, outputs].
  transposed,
  // MXFP4's codes [experts, outputs, blocks, 16], two of neighbouring inputs a byte; their scales, a byte a
  // block, are a tensor of their own. GGUF's blocks hold both.
  mxfp4,
  // Of `heads` heads' rows, those from `head_first` on: [heads, head_rows, columns]; or columns of such rows,
  // [heads, columns, head_rows].
  head_rows,
  head_columns,
};

// Which of an expert's outputs (of a matrix without experts: of its rows). Checkpoints have gate and up in
// one.
enum class Outputs : uint8_t { all, first_half, second_half, even, odd };

// Heads that stand in groups in the checkpoint and take turns in the file: of rows (or columns) from `first`
// on, `groups` groups of `each` heads of `size`. The file's head j is head j / groups of group j mod groups.
struct Turns {
  uint64_t first = 0, groups = 1, each = 1, size = 0;
  bool columns = false;
  bool any() const { return each > 1 && groups > 1; }
  uint64_t source(uint64_t at) const;  // the checkpoint's row that becomes `at`
};

struct TensorRule {
  std::string from, to;         // names in the checkpoint, in the GGUF file
  std::vector<uint64_t> shape;  // in the checkpoint, slowest-running first
  Layout layout = Layout::plain;
  uint32_t heads = 0;
  bool optional = false;  // in all layers, or in none
  bool single = false;    // optional by itself
  Outputs outputs = Outputs::all;
  Turns turns{};
  bool squeezed = false;               // the second dimension, which is 1, is left out
  std::vector<uint64_t> file_shape{};  // of the same elements, where it is another
  // Not 0: the matrix of one expert of so many; the file stacks them (experts.hpp).
  uint32_t experts = 0, expert = 0;
  uint64_t head_first = 0, head_rows = 0;  // Layout::head_rows, head_columns
};

// Which tensors a checkpoint of a family must hold, and what they become. Names are those of transformers'
// models and of llama.cpp's files.
class TensorPlan {
 public:
  explicit TensorPlan(const Config& config);

  // Rows of q and k as Layout::neighbours; norms as Layout::plus_one.
  bool permuted = false, norms_plus_one = false;
  bool headless = false;  // there may be no head, whatever the config ties
  uint64_t experts = 0;   // of each layer, in a mixture; what errors name
  // A tensor's name as the rules have it, where that is not the checkpoint's; empty: it is passed over.
  std::function<std::string(std::string name)> rename{};

  TensorRule& add(TensorRule rule) { return rules_.emplace_back(std::move(rule)); }
  // "model.layers.N.FROM.weight" → "blk.N.TO.weight" (or .bias), for every layer.
  void linear(std::string_view from, std::string_view to, uint64_t rows, uint64_t columns);
  void bias(std::string_view from, std::string_view to, uint64_t rows, bool optional);
  void norm(std::string_view from, std::string_view to, uint64_t width);

  // token_embd, output_norm, output (which may be absent where the config ties it).
  void outer(std::string_view last_norm = "norm", std::string_view in_file = "output_norm");
  // q, k, v, o, each with a bias where there is one (`biased`: of q, k, v there must be).
  void attention(bool biased = false);
  void gated_ffn();

  uint64_t hidden, ffn, heads, kv_heads, head_size, vocabulary;
  uint32_t layers;
  const std::vector<TensorRule>& rules() const noexcept { return rules_; }
  const Config& config() const noexcept { return config_; }

 private:
  TensorRule layer_rule(uint32_t layer, std::string_view from, std::string_view to, const char* kind) const;
  void set_layout(TensorRule& rule, std::string_view part) const;

  const Config& config_;
  std::vector<TensorRule> rules_;
};

// A tensor to be written.
struct PlannedTensor {
  const SourceTensor* source;
  const SourceTensor* scale = nullptr;  // of fp8 and MXFP4
  const TensorRule* rule;
  std::vector<PlannedTensor> experts = {};  // by number, where the file stacks them; `source` is the first's

  std::vector<uint64_t> shape() const;  // in the file, slowest-running first
};

// The checkpoint's tensors in its order, each with its rule. Tensors of pictures and sound are passed over
// where `multimodal`. Errors of code format, each naming a file and a tensor: one that is missing, has
// another shape than the config says, or has no place in the family; a bias that some layers have and others
// do not; unsupported: numbers of a kind that is not read.
std::vector<PlannedTensor> match_tensors(const Checkpoint& checkpoint, const TensorPlan& plan,
                                         std::string_view architecture, bool multimodal);

}  // namespace cairn::convert
