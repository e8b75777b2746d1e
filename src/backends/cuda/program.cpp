#include "backends/cuda/program.hpp"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "base/buffer.hpp"

namespace cairn::cuda {
namespace {

using graph::Op;
using graph::OpKind;
using graph::Slot;

constexpr uint64_t kAlignment = 256;
constexpr uint32_t kStride = 32;    // floats: rows begin at multiples of it
constexpr size_t kMostLists = 256;  // kept
constexpr size_t index_of(Slot slot) {
  return static_cast<size_t>(slot);
}

// The slots that the head reads before it writes them.
std::vector<Slot> read_by_head(const graph::Model& model) {
  std::set<Slot> written;
  std::vector<Slot> read;
  for (const Op& op : model.head) {
    for (const Slot slot : {op.input, op.input2}) {
      if (slot == Slot::none || written.contains(slot)) continue;
      if (std::find(read.begin(), read.end(), slot) == read.end()) read.push_back(slot);
    }
    written.insert(op.output);
  }
  return read;
}

}  // namespace

Program::Layout Program::lay_out(const graph::Model& model, const StackedMatrices& stacked, uint32_t rows,
                                 uint32_t context) {
  Layout layout;
  const auto place = [&](uint64_t bytes) {
    return std::exchange(layout.bytes, layout.bytes + round_up(bytes, kAlignment));
  };
  const auto add = [&](Place& to, uint32_t width, uint32_t count) {
    if (to.stride != 0 || width == 0) return;
    to.stride = static_cast<uint32_t>(round_up(width, kStride));
    to.offset = place(uint64_t{to.stride} * count * sizeof(float));
  };
  // Uploaded with each step, from the first to the last page.
  layout.tokens = place(rows * sizeof(int32_t));
  layout.positions = place(rows * sizeof(int32_t));
  layout.index = place(kHeadRows * sizeof(int32_t));
  layout.slices = place(kCudaBatch * sizeof(CudaSlice));
  layout.pages = place(uint64_t{kCudaBatch} * (context / kCudaPage + 1) * sizeof(uint32_t));
  each_op(model, [&](const Op& op) {
    for (const Slot slot : {op.input, op.input2, op.output}) {
      if (slot == Slot::none || slot == Slot::tokens) continue;
      add(layout.slots[index_of(slot)], model.width(slot), slot == Slot::logits ? kHeadRows : rows);
    }
  });
  for (const Op& op : model.head) {
    for (const Slot slot : {op.input, op.input2, op.output}) {
      if (slot != Slot::none && slot != Slot::logits)
        add(layout.head[index_of(slot)], model.width(slot), kHeadRows);
    }
  }
  layout.head[index_of(Slot::logits)] = layout.slots[index_of(Slot::logits)];
  uint32_t widest = 0;
  for (const auto& [name, matrix] : stacked) widest = std::max(widest, matrix.block == 0 ? 0 : matrix.k);
  add(layout.rotated, widest, rows);
  return layout;
}

uint64_t Program::bytes_needed(const graph::Model& model, const StackedMatrices& stacked, uint32_t rows,
                               uint32_t context) {
  return lay_out(model, stacked, rows, context).bytes;
}

Program::Program(std::shared_ptr<Device> device, const graph::Model& model, const Weights& weights,
                 const StackedMatrices& stacked, const PageLayout& layout, uint32_t rows, uint32_t context)
    : device_(std::move(device)),
      model_(model),
      weights_(weights),
      stacked_(stacked),
      pages_(layout),
      layout_(lay_out(model, stacked, rows, context)),
      embeds_(stacked.contains(model.embed.front().weight)),
      memory_(device_, layout_.bytes) {
  step_ = {memory_.as<int32_t>(layout_.tokens), memory_.as<int32_t>(layout_.positions),
           memory_.as<CudaSlice>(layout_.slices), memory_.as<uint32_t>(layout_.pages)};
}

void Program::upload(const Step& step) {
  staged_.resize(layout_.pages + step.pages.size() * sizeof(uint32_t));
  const auto put = [&](uint64_t offset, const auto& values) {
    if (!values.empty())
      std::memcpy(staged_.data() + offset, values.data(), values.size() * sizeof values[0]);
  };
  put(layout_.tokens, step.tokens);
  put(layout_.positions, step.positions);
  put(layout_.index, step.index);
  std::memset(staged_.data() + layout_.slices, 0, kCudaBatch * sizeof(CudaSlice));
  put(layout_.slices, step.slices);
  put(layout_.pages, step.pages);
  device_->upload(memory_.data(), staged_.data(), staged_.size());
}

void Program::upload_index(std::span<const int32_t> index) {
  device_->upload(memory_.data() + layout_.index, index.data(), index.size_bytes());
}

void Program::upload_embedding(std::span<const float> rows) {
  const Place& place = layout_.slots[index_of(model_.embed.front().output)];
  const uint32_t width = model_.width(model_.embed.front().output);
  std::vector<float> padded(rows.size() / width * place.stride);
  for (size_t r = 0; r < rows.size() / width; ++r)
    std::copy_n(rows.data() + r * width, width, padded.data() + r * place.stride);
  device_->upload(memory_.data() + place.offset, padded.data(), padded.size() * sizeof(float));
}

// Makes a list.
class Program::Builder {
 public:
  Builder(const Program& program, const Shape& shape, std::byte* base)
      : p_(program), shape_(shape), base_(base) {}

  std::vector<CudaCommand> take() { return std::move(commands_); }

  void layers() {
    slots_ = &p_.layout_.slots;
    rows_ = shape_.rows;
    for (const Op& op : p_.model_.embed) add(op, 0);
    for (uint32_t layer = 0; layer < p_.model_.layers.size(); ++layer) {
      for (const graph::OpList& ops : p_.model_.layers[layer]) {
        for (const Op& op : ops) add(op, layer);
      }
    }
  }

  void head() {
    rows_ = shape_.head_rows;
    if (shape_.take) {
      for (const Slot slot : read_by_head(p_.model_)) {
        const Place& from = p_.layout_.slots[index_of(slot)];
        CudaCommand c = make(CudaOp::take, p_.model_.width(slot));
        c.weight = p_.memory_.data() + p_.layout_.index;
        from_place(c.in, c.in_stride, from);
        to_place(c, p_.layout_.head[index_of(slot)]);
        commands_.push_back(c);
      }
      slots_ = &p_.layout_.head;
      rotated_ = Slot::none;
    } else {
      slots_ = &p_.layout_.slots;
    }
    for (const Op& op : p_.model_.head) {
      const bool logits = op.output == Slot::logits || op.input == Slot::logits;
      if (!logits || shape_.enough != 0) add(op, 0);
    }
  }

 private:
  CudaCommand make(CudaOp op, uint32_t width) const {
    CudaCommand c;
    std::memset(static_cast<void*>(&c), 0, sizeof c);  // what lies between fields too: lists are compared
    c.op = op;
    c.rows = rows_;
    c.width = width;
    return c;
  }
  void from_place(const float*& pointer, uint32_t& stride, const Place& place) const {
    pointer = p_.memory_.as<float>(place.offset);
    stride = place.stride;
  }
  void to_place(CudaCommand& c, const Place& place) const {
    c.out = p_.memory_.as<float>(place.offset);
    c.out_stride = place.stride;
  }
  const Place& place(Slot slot) const { return (*slots_)[index_of(slot)]; }
  uint32_t width(const Op& op) const {
    if (op.input == Slot::logits) return shape_.enough;
    return op.width != 0 ? op.width : p_.model_.width(op.input);
  }
  // Of one input and one output.
  CudaCommand unary(CudaOp kind, const Op& op) const {
    CudaCommand c = make(kind, width(op));
    from_place(c.in, c.in_stride, place(op.input));
    to_place(c, place(op.output));
    c.activation = static_cast<int32_t>(op.activation);
    c.epsilon = op.epsilon;
    c.factor = op.factor;
    return c;
  }
  CudaCommand binary(CudaOp kind, const Op& op) const {
    CudaCommand c = unary(kind, op);
    from_place(c.in2, c.in2_stride, place(op.input2));
    c.in2 += op.offset;
    return c;
  }
  const float* vector(const std::string& name) const {
    return name.empty() ? nullptr : p_.weights_.vector(name);
  }

  void add(const Op& op, uint32_t layer) {
    if (op.kind == OpKind::quantize) return;
    if (op.kind == OpKind::attention) return attention(op, layer);
    if (op.kind == OpKind::linear) return linear(op);
    if (op.output == rotated_) rotated_ = Slot::none;
    switch (op.kind) {
      case OpKind::embed: {
        if (p_.stacked_.contains(op.weight)) return;  // upload_embedding()
        const Weights::Matrix matrix = p_.weights_.matrix(op.weight);
        CudaCommand c = make(CudaOp::embed, matrix.k);
        c.weight = matrix.data;
        c.encoding = static_cast<uint32_t>(matrix.encoding);
        c.matrix_rows = matrix.rows;
        to_place(c, place(op.output));
        commands_.push_back(c);
        break;
      }
      case OpKind::scale: {
        CudaCommand c = unary(CudaOp::scale, op);
        if (!op.weight.empty()) c.factor *= p_.weights_.number(op.weight);
        if (c.factor != 1 || op.input != op.output) commands_.push_back(c);
        break;
      }
      case OpKind::norm_rms:
      case OpKind::norm_layer: {
        CudaCommand c = unary(op.kind == OpKind::norm_rms ? CudaOp::norm_rms : CudaOp::norm_layer, op);
        c.heads = op.heads;
        c.own = op.own ? 1 : 0;
        c.weight = vector(op.weight);
        c.bias = vector(op.bias);
        commands_.push_back(c);
        break;
      }
      case OpKind::rope: {
        CudaCommand c = unary(CudaOp::rope, op);
        c.heads = op.heads;
        c.head_size = c.width / op.heads;
        c.dims = op.rope.dims;
        c.offset = op.offset;
        c.neox = op.rope.neox ? 1 : 0;
        c.weight = p_.weights_.rope(op.rope);
        commands_.push_back(c);
        break;
      }
      case OpKind::gate:
        commands_.push_back(binary(CudaOp::gate, op));
        break;
      case OpKind::add:
        commands_.push_back(binary(CudaOp::add, op));
        break;
      case OpKind::activate:
        commands_.push_back(unary(CudaOp::activate, op));
        break;
      case OpKind::softcap:
        commands_.push_back(unary(CudaOp::softcap, op));
        break;
      default: {  // rotate: require_supported() lets no other through
        CudaCommand c = unary(CudaOp::rotate, op);
        c.block = op.block == 0 ? c.width : op.block;
        commands_.push_back(c);
        break;
      }
    }
  }

  void attention(const Op& op, uint32_t layer) {
    const graph::HyperParameters& parameters = p_.model_.parameters;
    CudaCommand c = make(CudaOp::attention, 0);
    c.heads = parameters.heads;
    c.kv_heads = op.kv_heads != 0 ? op.kv_heads : parameters.kv_heads;
    c.head_size = op.head_size != 0 ? op.head_size : parameters.head_size;
    c.width = c.heads * c.head_size;
    c.window = op.window;
    c.factor = op.factor;
    c.cap = op.softcap;
    c.pages = reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(base_) + p_.pages_.offset(layer));
    c.page_bytes = kPageUnit;
    c.slices = shape_.slices;
    c.longest = shape_.longest;
    if (op.shared == 0) {
      CudaCommand store = c;
      store.op = CudaOp::store;
      store.width = c.kv_heads * c.head_size;
      from_place(store.in, store.in_stride, place(Slot::key));
      from_place(store.in2, store.in2_stride, place(Slot::value));
      commands_.push_back(store);
    }
    from_place(c.in, c.in_stride, place(op.input));
    to_place(c, place(op.output));
    if (op.output == rotated_) rotated_ = Slot::none;
    commands_.push_back(c);
  }

  void linear(const Op& op) {
    CudaCommand c = unary(CudaOp::linear, op);
    c.factor = 0;
    c.first_row = op.row_begin;
    c.n = op.output == Slot::logits ? shape_.enough : op.rows;
    if (!op.bias.empty()) c.bias = p_.weights_.vector(op.bias) + op.row_begin;
    const auto stacked = p_.stacked_.find(op.weight);
    if (stacked == p_.stacked_.end()) {
      const Weights::Matrix matrix = p_.weights_.matrix(op.weight);
      c.width = matrix.k;
      c.weight = matrix.data;
      c.encoding = static_cast<uint32_t>(matrix.encoding);
      c.matrix_rows = matrix.rows;
    } else {
      const StackedMatrix& matrix = stacked->second;
      c.op = CudaOp::linear_planes;
      c.width = matrix.k;
      c.weight = matrix.planes;
      c.matrix_rows = matrix.rows;
      c.draft = shape_.draft ? 1 : 0;
      from_place(c.in2, c.in2_stride, place(op.input));
      if (matrix.block != 0) {
        rotate(op.input, matrix);
        from_place(c.in, c.in_stride, p_.layout_.rotated);
      }
    }
    if (op.output == rotated_) rotated_ = Slot::none;
    commands_.push_back(c);
  }

  // Products of one input share its rotation.
  void rotate(Slot slot, const StackedMatrix& matrix) {
    if (std::exchange(rotated_, slot) == slot) return;
    CudaCommand c = make(CudaOp::rotate, matrix.k);
    c.block = matrix.block;
    c.weight = matrix.signs;
    c.bias = matrix.mixing;
    from_place(c.in, c.in_stride, place(slot));
    to_place(c, p_.layout_.rotated);
    commands_.push_back(c);
  }

  const Program& p_;
  const Shape shape_;
  std::byte* const base_;
  const Places* slots_ = nullptr;
  uint32_t rows_ = 0;
  Slot rotated_ = Slot::none;  // whose rotation there is
  std::vector<CudaCommand> commands_{};
};

std::vector<CudaCommand> Program::build(const Shape& shape, std::byte* base) const {
  Builder builder(*this, shape, base);
  if (shape.rows != 0) builder.layers();
  if (shape.head_rows != 0) builder.head();
  return builder.take();
}

void Program::run(const Shape& shape, std::byte* base) {
  taken_ = shape.take;
  if (shape.rows > kCudaBatch) return device_->run(step_, build(shape, base), 0);
  auto found = lists_.find(shape);
  if (found == lists_.end()) {
    if (lists_.size() >= kMostLists) {
      device_->forget(0);
      lists_.clear();
    }
    found = lists_.emplace(shape, List{build(shape, base), ++keys_}).first;
  }
  device_->run(step_, found->second.commands, found->second.key);
}

const Program::Place& Program::head_place(Slot slot) const {
  return (taken_ ? layout_.head : layout_.slots)[index_of(slot)];
}

void Program::logits(uint32_t row, uint32_t rows, uint32_t count, float* to) const {
  const Place& place = layout_.slots[index_of(Slot::logits)];
  const auto* from = memory_.as<float>(place.offset) + size_t{row} * place.stride;
  if (count == place.stride) return device_->download(to, from, size_t{rows} * count * sizeof(float));
  for (uint32_t r = 0; r < rows; ++r) {
    device_->download(to + size_t{r} * model_.parameters.vocabulary, from + size_t{r} * place.stride,
                      count * sizeof(float));
  }
}

uint32_t Program::logits_stride() const {
  return layout_.slots[index_of(Slot::logits)].stride;
}

const float* Program::staged_logits(uint32_t rows) const {
  const Place& place = layout_.slots[index_of(Slot::logits)];
  const uint64_t floats = uint64_t{rows} * place.stride;
  float* staged = device_->staging(floats);
  if (staged != nullptr) device_->download(staged, memory_.data() + place.offset, floats * sizeof(float));
  return staged;
}

void Program::hidden(uint32_t row, uint32_t rows, float* to) const {
  const Place& place = head_place(Slot::normed);
  const uint32_t width = model_.width(Slot::normed);
  for (uint32_t r = 0; r < rows; ++r) {
    device_->download(to + size_t{r} * width,
                      memory_.as<float>(place.offset) + (size_t{row} + r) * place.stride,
                      width * sizeof(float));
  }
}

}  // namespace cairn::cuda
