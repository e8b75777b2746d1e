// The check of a model's op lists against the tensors of its file.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "formats/stack_file.hpp"
#include "graph/graph.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

class WeightCheck {
 public:
  WeightCheck(const gguf::File& file, const Model& model) : file_(file), model_(model) {
    if (!stack::is_stack(file)) return;
    for (const stack::Matrix& m : stack::read_layout(file).matrices) stacked_[m.name] = {m.columns, m.rows};
  }

  void run() {
    check(model_.embed);
    for (const Layer& layer : model_.layers) {
      for (const OpList& ops : layer) check(ops);
    }
    check(model_.head);
    const Draft& draft = model_.draft;
    for (const OpList* ops : {&draft.embed, &draft.keys, &draft.rest, &draft.head}) check(*ops);
    check_row_counts();
    check_nothing_left_over();
  }

 private:
  void check(const OpList& ops) {
    for (const Op& op : ops) {
      switch (op.kind) {
        case OpKind::embed:
          matrix(op.weight, model_.width(op.output), model_.parameters.vocabulary);
          break;
        case OpKind::add_position:
        case OpKind::add_row:
          matrix(op.weight, model_.width(op.output), op.rows);
          break;
        case OpKind::norm_rms:
        case OpKind::norm_layer: {
          const uint64_t width = width_of(op);
          if (op.own) {
            shape(op.weight, {width / op.heads, op.heads});
          } else if (!op.weight.empty()) {
            vector(op.weight, op.heads > 0 ? width / op.heads : width);
          }
          if (!op.bias.empty()) vector(op.bias, width);
          break;
        }
        case OpKind::linear:
          matrix(op.weight, width_of(op), uint64_t{op.row_begin} + op.rows);
          bias(op);
          break;
        case OpKind::head_linear:
          shape(op.weight, {op.block, op.rows, op.heads});
          break;
        case OpKind::scale:
          if (!op.weight.empty()) vector(op.weight, 1);
          break;
        case OpKind::expert_linear:
          experts(op);
          break;
        case OpKind::route:
          for (const std::string& name : {op.weight, op.bias}) {
            if (!name.empty()) vector(name, op.experts);
          }
          break;
        case OpKind::convolve:
          shape(op.weight, {op.window, model_.width(op.input)});
          if (!op.bias.empty()) vector(op.bias, model_.width(op.input));
          break;
        case OpKind::selective_scan:
          for (const std::string& name : {op.weight, op.skip}) shape(name, {1, op.heads});
          vector(op.bias, op.heads);
          break;
        case OpKind::delta_rule:
          vector(op.weight, op.heads);
          vector(op.bias, op.heads);
          break;
        case OpKind::attention:
          if (!op.weight.empty()) vector(op.weight, model_.parameters.heads);
          break;
        case OpKind::rope:
          for (const std::string& factors : {op.rope.factors, op.rope.long_factors}) {
            if (!factors.empty()) vector(factors, op.rope.dims / 2);
          }
          break;
        default:
          break;
      }
    }
  }

  uint64_t width_of(const Op& op) const { return op.width != 0 ? op.width : model_.width(op.input); }

  const gguf::Tensor& used(const std::string& name) {
    const gguf::Tensor& tensor = file_.tensor(name);
    used_.insert(tensor.name);
    return tensor;
  }

  void vector(const std::string& name, uint64_t expected) {
    const gguf::Tensor& tensor = used(name);
    if (tensor.elements() != expected || tensor.row_elements() != expected) {
      fail(ErrorCode::format, "{}: tensor {} has {} elements in {} rows, expected {} in one", file_.path(),
           name, tensor.elements(), tensor.rows(), expected);
    }
  }

  void matrix(const std::string& name, uint64_t row_elements, uint64_t rows) {
    const auto stacked = stacked_.find(name);
    if (stacked != stacked_.end()) {
      if (stacked->second.columns != row_elements) {
        fail(ErrorCode::format, "{}: stack: matrix {} has rows of {} elements, expected {}", file_.path(),
             name, stacked->second.columns, row_elements);
      }
      stacked->second.used = true;
      row_ends_[name] = std::max(row_ends_[name], rows);
      return;
    }
    const gguf::Tensor& tensor = used(name);
    const auto deep = [](uint64_t length) { return length > 1; };
    if (std::any_of(tensor.shape.begin() + std::min<ptrdiff_t>(2, std::ssize(tensor.shape)),
                    tensor.shape.end(), deep)) {
      fail(ErrorCode::format, "{}: tensor {} has {} dimensions, expected 2", file_.path(), name,
           tensor.shape.size());
    }
    if (tensor.row_elements() != row_elements) {
      fail(ErrorCode::format, "{}: tensor {} has rows of {} elements, expected {}", file_.path(), name,
           tensor.row_elements(), row_elements);
    }
    uint64_t& end = row_ends_[name];
    end = std::max(end, rows);
  }

  void experts(const Op& op) {
    const HyperParameters& p = model_.parameters;
    const bool each = op.input == Slot::expert_gate;  // its own input for each
    const uint32_t rows = op.all_rows != 0 ? op.all_rows : op.rows;
    shape(op.weight, {each ? p.expert_ffn : model_.width(op.input), rows, op.experts});
    if (!op.bias.empty()) shape(op.bias, {rows, op.experts});
  }

  void shape(const std::string& name, const std::vector<uint64_t>& expected) {
    // Some writers leave dimensions of 1 at the end out.
    const auto without_ones = [](std::vector<uint64_t> lengths) {
      while (!lengths.empty() && lengths.back() == 1) lengths.pop_back();
      return lengths;
    };
    const std::vector<uint64_t>& found = used(name).shape;
    if (without_ones(found) != without_ones(expected)) {
      fail(ErrorCode::format, "{}: tensor {} is {}, expected {}", file_.path(), name, fmt::join(found, " × "),
           fmt::join(expected, " × "));
    }
  }

  // A fused tensor's bias is fused as well; its rows are those of the weight.
  void bias(const Op& op) {
    if (op.bias.empty()) return;
    const auto stacked = stacked_.find(op.weight);
    vector(op.bias, stacked != stacked_.end() ? stacked->second.rows : used(op.weight).rows());
  }

  // Ops may share a tensor (q, k, v in one); together they must use all of its rows.
  void check_row_counts() const {
    for (const auto& [name, end] : row_ends_) {
      const auto stacked = stacked_.find(name);
      const uint64_t rows = stacked != stacked_.end() ? stacked->second.rows : file_.tensor(name).rows();
      if (rows != end) {
        fail(ErrorCode::format, "{}: tensor {} has {} rows, expected {}", file_.path(), name, rows, end);
      }
    }
  }

  // A weight that no op reads means a model that is not what its architecture says; the answers would be
  // wrong.
  void check_nothing_left_over() const {
    for (const gguf::Tensor& tensor : file_.tensors()) {
      if (used_.contains(tensor.name) || is_derived(tensor.name) || is_of_drafts(tensor.name) ||
          is_shared(tensor.name))
        continue;
      fail(ErrorCode::unsupported, "{}: tensor {} has no place in architecture '{}'", file_.path(),
           tensor.name, model_.parameters.architecture);
    }
    for (const auto& [name, matrix] : stacked_) {
      if (!matrix.used) {
        fail(ErrorCode::unsupported, "{}: stack: matrix {} has no place in architecture '{}'", file_.path(),
             name, model_.parameters.architecture);
      }
    }
  }

  // Frequency tables that old converters stored although they follow from the metadata.
  static bool is_derived(std::string_view name) {
    return name.ends_with("attn_rot_embd") || name.ends_with("rotary_emb.inv_freq") ||
           name.ends_with("attn_rot_embd.weight");
  }

  // Layers behind the model's own, which predict further tokens, where there are too many of them.
  bool is_of_drafts(std::string_view name) const {
    if (!model_.draft.empty()) return false;
    for (uint32_t i = 0; i < model_.parameters.draft_layers; ++i) {
      if (name.starts_with(layer_tensor(model_.parameters.layers + i, ""))) return true;
    }
    return false;
  }

  // Keys and values that a layer does not use, as it reads those of an earlier one: some checkpoints have
  // them.
  bool is_shared(std::string_view name) const {
    const HyperParameters& p = model_.parameters;
    for (uint32_t i = p.layers - p.shared_layers; i < p.layers; ++i) {
      for (const char* part : {"attn_k.weight", "attn_v.weight", "attn_k_norm.weight"}) {
        if (name == fmt::format("blk.{}.{}", i, part)) return true;
      }
    }
    return false;
  }

  struct Stacked {
    uint64_t columns, rows;
    bool used = false;
  };

  const gguf::File& file_;
  const Model& model_;
  std::map<std::string, Stacked> stacked_;  // the matrices that a stack keeps as blocks
  std::set<std::string_view> used_;
  std::map<std::string, uint64_t> row_ends_;
};

}  // namespace

Model load(const gguf::File& file, uint32_t context) {
  HyperParameters parameters = read_hyper_parameters(file);
  Model model = build(parameters);
  WeightCheck(file, model).run();
  Rope& rope = parameters.rope;
  if (rope.long_factors.empty() || context <= rope.original_context) return model;
  rope.factors = rope.long_factors;
  return build(parameters);
}

}  // namespace cairn::graph
