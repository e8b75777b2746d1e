// From commands to launches: what stands side by side and reads what the one before wrote goes together.
#include <algorithm>

#include "base/error.hpp"
#include "cuda/device.hpp"

namespace cairn::cuda {
namespace {

struct Wanted {
  Kind kind = Kind::none;
  uint32_t width = 0;
};

// What a product of so many tokens reads.
Kind kind_for(const CudaCommand& c) {
  const Kind kind = c.rows > kCudaBatch ? gemm_kind_of(c.encoding) : Kind::none;
  return kind != Kind::none ? kind : kind_of(c.encoding);
}

class Issuer {
 public:
  Issuer(Device& device, Stream& stream, const CudaStep& step, const CudaCommand* commands, size_t count)
      : device_(device), stream_(stream), step_(step), commands_(commands), count_(count) {}

  void run() {
    while (at_ < count_) next();
  }

 private:
  const CudaCommand& now() const { return commands_[at_]; }
  // The command `ahead` behind this one, if it is such an op.
  const CudaCommand* follows(size_t ahead, CudaOp op) const {
    return at_ + ahead < count_ && commands_[at_ + ahead].op == op ? &commands_[at_ + ahead] : nullptr;
  }

  // Whether the commands from `first` on that read `of` are products of one token that make their input
  // themselves, one behind the other, so that `of` need not be written.
  bool only_sources(const float* of, size_t first) const {
    if (stream_.plain) return false;
    size_t i = first;
    for (; i < count_ && commands_[i].op == CudaOp::linear && commands_[i].in == of; ++i) {
      const CudaCommand& c = commands_[i];
      if (c.rows != 1 || c.width % 4 != 0 || !takes_source(c.encoding) || c.out == of) return false;
    }
    if (i == first) return false;
    for (; i < count_; ++i) {
      const CudaCommand& c = commands_[i];
      if (c.in == of || c.in2 == of) return false;
      if (c.out == of) return true;
    }
    return true;
  }
  // Whether what a buffer holds before command `first` is read from there on.
  bool read_after(const float* of, size_t first) const {
    for (size_t i = first; i < count_; ++i) {
      const CudaCommand& c = commands_[i];
      if (c.in == of || c.in2 == of) return true;
      if (c.out == of) return false;
    }
    return false;
  }
  static bool aligned(const void* at) { return reinterpret_cast<uintptr_t>(at) % 16 == 0; }

  // What the next product that reads `in` wants, looking from command `from` on.
  Wanted wanted(const float* in, size_t from) const {
    for (size_t i = from; i < count_; ++i) {
      const CudaCommand& c = commands_[i];
      if (c.in == in && c.op == CudaOp::linear) return {kind_for(c), c.width};
      if (c.in == in && c.op == CudaOp::linear_planes) return {Kind::planes, c.width};
      if (c.out == in || (c.op == CudaOp::rope && c.in == in)) break;
    }
    return {};
  }

  Activations make(const float* of, Kind kind, uint32_t width, uint32_t rows) {
    Activations a{};
    if (kind == Kind::none) return a;
    const uint32_t tiles = (rows + 7) / 8, groups = (width + 31) / 32;
    a.groups = kind == Kind::bytes    ? (groups + 7) / 8 * 8
               : kind == Kind::planes ? (groups + 3) / 4 * 4
               : is_rows(kind)        ? (groups + 1) / 2 * 2
                                      : groups;
    const size_t codes = size_t{tiles} * a.groups *
                         (kind == Kind::bytes || kind == Kind::planes ? 256
                          : is_rows(kind)                             ? 512
                                                                      : 1024);
    const size_t meta = kind == Kind::bytes ? size_t{tiles} * a.groups * 8 * sizeof(uint2) : 0;
    auto* at = static_cast<std::byte*>(
        device_.scratch(of, static_cast<int>(kind), codes + meta + size_t{tiles} * 8 * sizeof(float)));
    a.codes = reinterpret_cast<uint32_t*>(at);
    a.meta = reinterpret_cast<uint2*>(at + codes);
    a.scales = reinterpret_cast<float*>(at + codes + meta);
    return a;
  }

  void written(const float* out) {
    std::erase_if(ready_, [&](const Ready& r) { return r.of == out; });
    if (out == source_of_) source_of_ = nullptr;
  }
  void is_ready(const float* of, Kind kind, const Activations& a, uint32_t rows) {
    if (kind != Kind::none) ready_.push_back({of, kind, a, rows});
  }

  // Whether the next product of `of` makes its input itself.
  bool takes_floats(const float* of) const {
    for (size_t i = at_; i < count_; ++i) {
      const CudaCommand& c = commands_[i];
      if (c.in == of && c.op == CudaOp::linear) {
        return c.rows == 1 && c.width % 4 == 0 && takes_source(c.encoding) && aligned(of) && !stream_.plain;
      }
      if (i > at_ && c.out == of) return false;
    }
    return false;
  }
  bool is_prepared(const CudaCommand& c, Kind kind) const {
    return std::any_of(ready_.begin(), ready_.end(),
                       [&](const Ready& r) { return r.of == c.in && r.kind == kind && r.rows >= c.rows; });
  }
  Activations prepared(const CudaCommand& c, Kind kind) {
    for (const Ready& r : ready_) {
      if (r.of == c.in && r.kind == kind && r.rows >= c.rows) return r.activations;
    }
    RowArguments a{};
    a.in = c.in, a.in_stride = c.in_stride, a.rows = c.rows, a.width = c.width;
    a.kind = kind;
    a.prepared = make(c.in, kind, c.width, c.rows);
    rows(a);
    is_ready(c.in, kind, a.prepared, c.rows);
    return a.prepared;
  }

  void rows(const RowArguments& a) {
    if (!fits(stream_, a)) {
      throw Failure{static_cast<int>(ErrorCode::unsupported),
                    "GPU: rows of " + std::to_string(a.width) + " features do not fit in its shared memory"};
    }
    launch_rows(stream_, a);
  }

  void next();
  void row_ops();
  bool make_source();
  void rope();
  void attention(const CudaCommand* query = nullptr, const CudaCommand* key = nullptr,
                 const CudaCommand* store = nullptr);
  void linear();
  void planes();

  struct Ready {
    const float* of;
    Kind kind;
    Activations activations;
    uint32_t rows;
  };
  Device& device_;
  Stream& stream_;
  const CudaStep& step_;
  const CudaCommand* commands_;
  size_t count_, at_ = 0;
  std::vector<Ready> ready_;
  const float* source_of_ = nullptr;  // what source_ stands for, not written
  Source source_{};
};

bool is_norm(const CudaCommand* c) {
  return c != nullptr && (c->op == CudaOp::norm_rms || c->op == CudaOp::norm_layer) && c->heads <= 1;
}

// A norm, gate or activation of one token whose products can do it themselves.
bool Issuer::make_source() {
  const CudaCommand& c = now();
  Source s{};
  s.in = c.in;
  if (c.op == CudaOp::norm_rms && c.bias == nullptr) {
    s.norm = true, s.weight = static_cast<const float*>(c.weight), s.epsilon = c.epsilon;
  } else if (c.op == CudaOp::gate || c.op == CudaOp::activate) {
    s.load = c.op == CudaOp::gate ? Load::gate : Load::activate;
    s.in2 = c.in2, s.activation = c.activation;
  } else {
    return false;
  }
  if (c.rows != 1 || !aligned(c.in) || !aligned(c.in2) || !aligned(c.weight) || !only_sources(c.out, at_ + 1))
    return false;
  for (size_t i = at_ + 1; i < count_ && commands_[i].in == c.out; ++i) {
    if (commands_[i].out == c.in || (c.in2 != nullptr && commands_[i].out == c.in2)) return false;
    // A sum that goes along must not change what others still read.
    if (i + 1 < count_ && commands_[i + 1].op == CudaOp::add && commands_[i + 1].out == c.in) {
      if (commands_[i + 1].in == commands_[i].out || commands_[i + 1].in2 == commands_[i].out) return false;
    }
  }
  written(c.out);
  source_of_ = c.out, source_ = s;
  ++at_;
  return true;
}

// A sum, gate or activation, a norm and a rotation of what it leaves, as far as they follow each other.
void Issuer::row_ops() {
  if (make_source()) return;
  RowArguments a{};
  const CudaCommand& first = now();
  a.in = first.in, a.in_stride = first.in_stride, a.rows = first.rows, a.width = first.width;
  const float* last = nullptr;
  const auto take = [&] {
    last = now().out;
    written(last);
    ++at_;
  };
  if (first.op == CudaOp::add || first.op == CudaOp::gate || first.op == CudaOp::activate) {
    a.load = first.op == CudaOp::add ? Load::add : first.op == CudaOp::gate ? Load::gate : Load::activate;
    a.in2 = first.in2, a.in2_stride = first.in2_stride, a.activation = first.activation;
    a.loaded = first.out, a.loaded_stride = first.out_stride;
    take();
  }
  const auto goes_on = [&] {
    return at_ < count_ && (last == nullptr || now().in == last) && now().rows == a.rows &&
           now().width == a.width;
  };
  if (goes_on() && is_norm(&now())) {
    const CudaCommand& c = now();
    a.norm = c.op == CudaOp::norm_rms ? Norm::rms : Norm::layer;
    a.weight = static_cast<const float*>(c.weight), a.bias = c.bias, a.epsilon = c.epsilon;
    a.normed = c.out, a.normed_stride = c.out_stride;
    take();
  }
  if (goes_on() && now().op == CudaOp::rotate) {
    const CudaCommand& c = now();
    a.signs = static_cast<const float*>(c.weight), a.mix = c.bias;
    a.block = c.block != 0 ? c.block : c.width;
    a.rotated = c.out, a.rotated_stride = c.out_stride;
    take();
  }
  Wanted want = wanted(last, at_);
  if (takes_floats(last)) want = {};
  if (want.kind != Kind::none && want.width == a.width) {
    a.kind = want.kind;
    a.prepared = make(last, want.kind, a.width, a.rows);
    if (!fits(stream_, a)) a.kind = Kind::none;
  }
  rows(a);
  is_ready(last, a.kind, a.prepared, a.rows);
}

void Issuer::rope() {
  const CudaCommand *query = nullptr, *key = nullptr, *store = nullptr;
  const CudaCommand* first = &now();
  if (first->op == CudaOp::store) {
    store = first;
  } else {
    const CudaCommand* second = follows(1, CudaOp::rope);
    if (second != nullptr && (second->rows != first->rows || second->in == first->in)) second = nullptr;
    store = follows(second != nullptr ? 2 : 1, CudaOp::store);
    if (store != nullptr && store->rows != first->rows) store = nullptr;
    query = first, key = second;
    const auto is_stored = [&](const CudaCommand* c) {
      return c != nullptr && store != nullptr && c->in == store->in && c->heads == store->kv_heads;
    };
    if (is_stored(query)) std::swap(query, key);
    if (store != nullptr && !is_stored(key)) {  // the keys are turned by neither
      store = nullptr;
      if (key == nullptr && query == nullptr) query = first;
    }
  }
  for (const CudaCommand* c : {query, key}) {
    if (c != nullptr) written(c->in);
  }
  if (query != nullptr && key != nullptr && store != nullptr && !stream_.plain) {
    const CudaCommand* attends = follows(3, CudaOp::attention);
    if (attends != nullptr && turns_with_attention(*attends, *query, *key, *store) &&
        !read_after(query->in, at_ + 4) && !read_after(key->in, at_ + 4)) {
      at_ += 3;
      return attention(query, key, store);
    }
  }
  launch_rope(stream_, step_, query, key, store);
  at_ += static_cast<size_t>(query != nullptr) + static_cast<size_t>(key != nullptr) +
         static_cast<size_t>(store != nullptr);
}

void Issuer::attention(const CudaCommand* query, const CudaCommand* key, const CudaCommand* store) {
  const CudaCommand& c = now();
  written(c.out);
  if (c.rows > kCudaBatch && launch_chunk_attention(stream_, step_, c)) {
    ++at_;
    return;
  }
  Wanted want = wanted(c.out, at_ + 1);
  if (want.width != c.heads * c.head_size || has_scale(want.kind) || c.head_size % 32 != 0 ||
      takes_floats(c.out)) {
    want = {};
  }
  const Activations a = make(c.out, want.kind, want.width, c.rows);
  auto* partial = static_cast<float*>(device_.scratch(nullptr, 0, attention_floats(c) * sizeof(float)));
  launch_attention(stream_, step_, c, partial, want.kind, a, query, key, store);
  is_ready(c.out, want.kind, a, c.rows);
  ++at_;
}

void Issuer::linear() {
  const CudaCommand& c = now();
  LinearArguments a{};
  a.rows = c.rows, a.k = c.width, a.in = c.in, a.in_stride = c.in_stride;
  const Kind kind = kind_for(c);
  if (c.in == source_of_) {
    a.source = source_;
  } else if (kind != Kind::none && c.rows == 1 && c.width % 4 == 0 && takes_source(c.encoding) &&
             aligned(c.in) && !stream_.plain && !is_prepared(c, kind)) {
    a.source.in = c.in;
  } else if (kind != Kind::none) {
    a.x = prepared(c, kind);
  }
  uint32_t parts = 0;
  while (parts < kMostParts && at_ < count_) {
    const CudaCommand& p = now();
    if (p.op != CudaOp::linear || p.in != c.in || p.encoding != c.encoding || p.width != c.width ||
        p.rows != c.rows || (parts > 0 && p.out == c.in)) {
      break;
    }
    Part& part = a.parts[parts++];
    part = {static_cast<const uint8_t*>(p.weight),
            p.bias,
            p.out,
            p.out_stride,
            p.first_row,
            p.n,
            p.matrix_rows,
            nullptr,
            0};
    written(p.out);
    ++at_;
    // What it is added to goes along.
    if (is_rows(kind) || at_ >= count_ || now().op != CudaOp::add || now().rows != c.rows ||
        now().width != p.n)
      continue;
    const CudaCommand& add = now();
    if ((add.in != p.out && add.in2 != p.out) || add.in == add.in2 || add.out == p.out) continue;
    const float* other = add.in == p.out ? add.in2 : add.in;
    const uint32_t stride = add.in == p.out ? add.in2_stride : add.in_stride;
    if (other != add.out || stride != add.out_stride || other == c.in || other == a.source.in) continue;
    part.sum = add.out, part.sum_stride = add.out_stride;
    written(add.out);
    ++at_;
    break;
  }
  if (!is_rows(kind)) return launch_linear(stream_, c.encoding, a, parts);
  const size_t floats = gemm_floats(stream_, a, parts);
  auto* partial =
      floats == 0 ? nullptr : static_cast<float*>(device_.scratch(nullptr, 1, floats * sizeof(float)));
  launch_gemm(stream_, c.encoding, a, parts, partial);
}

void Issuer::planes() {
  const CudaCommand& c = now();
  PlanesArguments a{};
  a.rows = c.rows, a.k = c.width, a.draft = static_cast<uint32_t>(c.draft);
  a.plain = c.in2, a.plain_stride = c.in2_stride;
  a.x = prepared(c, Kind::planes);
  uint32_t stored[kMostParts] = {}, parts = 0;
  while (parts < kMostParts && at_ < count_) {
    const CudaCommand& p = now();
    if (p.op != CudaOp::linear_planes || p.in != c.in || p.in2 != c.in2 || p.width != c.width ||
        p.rows != c.rows || p.draft != c.draft || (parts > 0 && (p.out == c.in || p.out == c.in2))) {
      break;
    }
    a.planes[parts] = static_cast<const CudaPlanes*>(p.weight);
    a.bias[parts] = p.bias, a.out[parts] = p.out, a.out_stride[parts] = p.out_stride;
    stored[parts++] = p.matrix_rows != 0 ? p.matrix_rows : p.n;
    written(p.out);
    ++at_;
  }
  launch_planes(stream_, a, stored, parts);
}

void Issuer::next() {
  const CudaCommand& c = now();
  if (c.rows == 0) {
    ++at_;
    return;
  }
  switch (c.op) {
    case CudaOp::embed: {
      const CudaCommand* scale = follows(1, CudaOp::scale);
      if (scale != nullptr && (scale->in != c.out || scale->out != c.out || scale->rows != c.rows))
        scale = nullptr;
      written(c.out);
      launch_embed(stream_, step_, c, scale != nullptr ? scale->factor : 1);
      at_ += scale != nullptr ? 2 : 1;
      return;
    }
    case CudaOp::take:
      launch_take(stream_, c);
      break;
    case CudaOp::scale:
      launch_scale(stream_, c);
      break;
    case CudaOp::softcap:
      launch_softcap(stream_, c);
      break;
    case CudaOp::norm_rms:
    case CudaOp::norm_layer:
      if (is_norm(&c)) return row_ops();
      launch_norm_heads(stream_, c);
      break;
    case CudaOp::add:
    case CudaOp::gate:
    case CudaOp::activate:
    case CudaOp::rotate:
      return row_ops();
    case CudaOp::rope:
    case CudaOp::store:
      return rope();
    case CudaOp::attention:
      return attention();
    case CudaOp::linear:
      return linear();
    case CudaOp::linear_planes:
      return planes();
    default:
      throw Failure{
          static_cast<int>(ErrorCode::unsupported),
          "GPU: an op that this libcairn_cuda.so does not know: " + std::to_string(static_cast<int>(c.op))};
  }
  written(c.out);
  ++at_;
}

}  // namespace

void issue_commands(Device& device, Stream& stream, const CudaStep& step, const CudaCommand* commands,
                    size_t count) {
  Issuer(device, stream, step, commands, count).run();
}

}  // namespace cairn::cuda
