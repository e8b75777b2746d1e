// A model of Qwen2.5-1.5B's shape as commands for a GPU, of random weights, and how long a step takes.
#pragma once

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/cuda_plugin.hpp"

namespace cairn::bench {

inline const CudaPlugin* plugin;
inline void* device;

inline void check(int status, const char* message) {
  if (status == 0) return;
  std::fprintf(stderr, "%d: %s\n", status, message);
  std::exit(1);
}
template <class F, class... A>
void call(F f, A... a) {
  char message[1024] = "";
  check(f(a..., message, sizeof(message)), message);
}

inline void* reserve(uint64_t bytes) {
  void* at = nullptr;
  call(plugin->allocate, device, bytes, &at);
  return at;
}
inline void give_back(void* at) {
  call(plugin->release, device, at);
}
template <class T>
T* put(const std::vector<T>& values) {
  void* at = reserve(values.size() * sizeof(T));
  call(plugin->upload, device, at, static_cast<const void*>(values.data()),
       uint64_t{values.size() * sizeof(T)});
  return static_cast<T*>(at);
}

struct Shape {
  uint32_t layers = 28, hidden = 1536, ffn = 8960, heads = 12, kv_heads = 2, head = 128, vocabulary = 151936;
};

// What matrices are: an encoding, or planes at a level (100 + level).
class Model {
 public:
  Model(const Shape& shape, uint32_t encoding) : s_(shape), encoding_(encoding) {
    const uint32_t kv = s_.kv_heads * s_.head;
    const uint32_t sizes[7][2] = {{s_.hidden, s_.hidden}, {kv, s_.hidden},     {kv, s_.hidden},
                                  {s_.hidden, s_.hidden}, {s_.ffn, s_.hidden}, {s_.ffn, s_.hidden},
                                  {s_.hidden, s_.ffn}};
    for (uint32_t i = 0; i < 7; ++i) {
      for (uint32_t layer = 0; layer < s_.layers; ++layer)
        matrices_.push_back(make(sizes[i][0], sizes[i][1]));
    }
    head_ = make(s_.vocabulary, s_.hidden);
    std::vector<float> ones(s_.ffn, 1.0f);
    weight_ = put(ones);
    mix_ = put(std::vector<float>(35 * 35, 0.1f));
  }
  ~Model() {
    for (void* at : held_) give_back(at);
    give_back(weight_);
    give_back(mix_);
  }
  uint64_t bytes() const { return bytes_; }  // of matrices

  // One sequence's chunk, or tokens of several.
  void prepare(uint32_t rows, uint32_t sequences, uint32_t position) {
    rows_ = rows;
    const uint32_t each = rows / sequences, last = position + each, per = (last + kCudaPage - 1) / kCudaPage;
    std::vector<CudaSlice> slices;
    std::vector<uint32_t> pages;
    std::vector<int32_t> tokens, positions;
    for (uint32_t q = 0; q < sequences; ++q) {
      slices.push_back({q * each, each, position, q * per});
      for (uint32_t i = 0; i < per; ++i) pages.push_back(q * per + i);
      for (uint32_t i = 0; i < each; ++i) {
        tokens.push_back(static_cast<int32_t>((q * 977 + i * 131) % s_.vocabulary));
        positions.push_back(static_cast<int32_t>(position + i));
      }
    }
    page_bytes_ = uint64_t{2} * s_.kv_heads * kCudaPage * s_.head * 2;
    longest_ = per * kCudaPage, slice_count_ = sequences;
    step_ = {keep(put(tokens)), keep(put(positions)), keep(put(slices)), keep(put(pages))};
    // Keys and values that are numbers, and no NaN.
    const std::vector<uint16_t> some(page_bytes_ / 2 * sequences * per, uint16_t{0x3400});
    for (uint32_t layer = 0; layer < s_.layers; ++layer)
      cache_.push_back(keep(reinterpret_cast<std::byte*>(put(some))));
    last_ = keep(put(std::vector<int32_t>(1, static_cast<int32_t>(rows - 1))));
    rope_ = keep(put(std::vector<float>(size_t{last} * s_.head, 0.7f)));
    const auto slot = [&](uint32_t width) {
      return keep(put(std::vector<float>(size_t{rows} * width, 0.01f)));
    };
    hidden_ = slot(s_.hidden), branch_ = slot(s_.hidden), normed_ = slot(s_.hidden),
    turned_ = slot(s_.hidden), turned_qkv_ = slot(s_.hidden);
    query_ = slot(s_.hidden), key_ = slot(s_.kv_heads * s_.head), value_ = slot(s_.kv_heads * s_.head);
    context_ = slot(s_.hidden), gate_ = slot(s_.ffn), up_ = slot(s_.ffn), turned_ffn_ = slot(s_.ffn);
    logits_ = slot(0 == rows ? 0 : s_.vocabulary / (rows > 64 ? rows : 1) + 1);
    list_ = commands();
  }
  void release() {
    for (void* at : own_) give_back(at);
    own_.clear();
    cache_.clear();
    char message[64];
    plugin->forget(device, 0, message, sizeof(message));
  }
  // Seconds a step takes.
  double time(uint32_t steps, uint64_t key) {
    for (int i = 0; i < 3; ++i) call(plugin->run, device, &step_, list_.data(), list_.size(), key);
    call(plugin->wait, device);
    const auto begin = std::chrono::steady_clock::now();
    for (uint32_t i = 0; i < steps; ++i) call(plugin->run, device, &step_, list_.data(), list_.size(), key);
    call(plugin->wait, device);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / steps;
  }
  const float* normed() const { return encoding_ > 100 ? turned_qkv_ : normed_; }
  std::vector<CudaCommand> list_;

 private:
  struct Matrix {
    const void* at;
    uint32_t rows, k;
  };

  template <class T>
  T* keep(T* at) {
    own_.push_back(at);
    return at;
  }

  // Random bytes whose scales are small numbers.
  const std::vector<uint8_t>& noise(uint64_t bytes) {
    static std::vector<uint8_t> all;
    std::mt19937_64 random(all.size());
    while (all.size() < bytes) {
      const uint64_t v = random() & 0x3F7F3F7F3F7F3F7FULL;  // as f16, bf16 below 2
      for (int i = 0; i < 8; ++i) all.push_back(static_cast<uint8_t>(v >> (8 * i)));
    }
    return all;
  }

  Matrix make(uint32_t rows, uint32_t k) {
    if (encoding_ > 100) return make_planes(rows, k);
    uint64_t bytes = 0;
    call(plugin->matrix_bytes, encoding_, uint64_t{rows}, uint64_t{k}, &bytes);
    void* at = reserve(bytes);
    held_.push_back(at);
    bytes_ += bytes;
    const std::vector<uint8_t>& from = noise(bytes);  // the file's are no more
    call(plugin->upload_matrix, device, encoding_, uint64_t{rows}, uint64_t{k},
         static_cast<const void*>(from.data()), at);
    return {at, rows, k};
  }

  Matrix make_planes(uint32_t rows, uint32_t k) {
    const int level = static_cast<int>(encoding_) - 100;
    const uint64_t plane = uint64_t{rows} * k / 8;
    CudaPlaneGroup group{};
    group.level = group.draft = level;
    group.rows = rows;
    for (int i = 0; i < level; ++i) {
      void* at = reserve(plane);
      held_.push_back(at);
      call(plugin->upload, device, at, static_cast<const void*>(noise(plane).data()), plane);
      group.planes[i] = at;
      bytes_ += plane;
    }
    std::vector<int8_t> tables(254);
    for (size_t i = 0; i < tables.size(); ++i) tables[i] = static_cast<int8_t>(i * 37 % 200);
    std::vector<uint32_t> to(rows);
    for (uint32_t i = 0; i < rows; ++i) to[i] = i;
    const auto hold = [&](auto* at) {
      held_.push_back(at);
      return at;
    };
    group.scales = group.draft_scales = hold(put(std::vector<uint16_t>(rows, uint16_t{0x1000})));
    CudaPlanes planes{
        hold(put(std::vector<CudaPlaneGroup>{group})), hold(put(tables)), hold(put(to)), 1, rows, rows, k, 2};
    return {hold(put(std::vector<CudaPlanes>{planes})), rows, k};
  }

  CudaCommand op(CudaOp kind, uint32_t width, const float* in, float* out) const {
    CudaCommand c{};
    c.op = kind, c.rows = rows_, c.width = width, c.in = in, c.out = out;
    c.in_stride = c.in2_stride = c.out_stride = width;
    return c;
  }
  // After a rotation, where matrices are planes.
  void multiply(std::vector<CudaCommand>& list, const float* in, float* turned,
                std::vector<std::pair<size_t, float*>> to, uint32_t layer) const {
    const bool planes = encoding_ > 100;
    const Matrix& first = matrix(to[0].first, layer);
    if (planes) {
      CudaCommand r = op(CudaOp::rotate, first.k, in, turned);
      r.weight = weight_, r.bias = mix_, r.block = first.k == 1536 ? 512 : 256;
      list.push_back(r);
    }
    for (const auto& [index, out] : to) {
      const Matrix& m = matrix(index, layer);
      CudaCommand c = op(planes ? CudaOp::linear_planes : CudaOp::linear, m.k, planes ? turned : in, out);
      c.weight = m.at, c.encoding = planes ? 0 : encoding_, c.matrix_rows = c.n = c.out_stride = m.rows;
      if (index == 7) c.rows = rows_ > 64 ? 1 : rows_;
      list.push_back(c);
    }
  }
  const Matrix& matrix(size_t index, uint32_t layer) const {
    return index == 7 ? head_ : matrices_[index * s_.layers + layer];
  }
  void norm(std::vector<CudaCommand>& list, bool add) const {
    if (add) {
      CudaCommand a = op(CudaOp::add, s_.hidden, hidden_, hidden_);
      a.in2 = branch_;
      list.push_back(a);
    }
    CudaCommand n = op(CudaOp::norm_rms, s_.hidden, hidden_, normed_);
    n.weight = weight_, n.epsilon = 1e-6f;
    list.push_back(n);
  }

  std::vector<CudaCommand> commands() const {
    std::vector<CudaCommand> list;
    CudaCommand embed = op(CudaOp::scale, s_.hidden, branch_, hidden_);  // planes are embedded elsewhere
    embed.factor = 1;
    if (encoding_ < 100) {
      embed = op(CudaOp::embed, s_.hidden, nullptr, hidden_);
      embed.weight = head_.at, embed.encoding = encoding_, embed.matrix_rows = head_.rows;
    }
    list.push_back(embed);
    const uint32_t kv = s_.kv_heads * s_.head;
    for (uint32_t layer = 0; layer < s_.layers; ++layer) {
      norm(list, layer > 0);
      multiply(list, normed_, turned_qkv_, {{0, query_}, {1, key_}, {2, value_}}, layer);
      CudaCommand rope = op(CudaOp::rope, s_.hidden, query_, query_);
      rope.heads = s_.heads, rope.head_size = rope.dims = s_.head, rope.neox = 1, rope.weight = rope_;
      list.push_back(rope);
      rope.in = rope.out = key_, rope.heads = s_.kv_heads, rope.in_stride = rope.out_stride = rope.width = kv;
      list.push_back(rope);
      CudaCommand store = op(CudaOp::store, kv, key_, nullptr);
      store.in2 = value_, store.heads = s_.heads, store.kv_heads = s_.kv_heads, store.head_size = s_.head;
      store.pages = cache_[layer], store.page_bytes = page_bytes_, store.slices = slice_count_;
      store.longest = longest_;
      list.push_back(store);
      CudaCommand attend = store;
      attend.op = CudaOp::attention, attend.in = query_, attend.in2 = nullptr, attend.out = context_;
      attend.in_stride = attend.out_stride = attend.width = s_.hidden, attend.factor = 0.088f;
      list.push_back(attend);
      multiply(list, context_, turned_, {{3, branch_}}, layer);
      norm(list, true);
      multiply(list, normed_, turned_, {{4, gate_}, {5, up_}}, layer);
      CudaCommand gate = op(CudaOp::gate, s_.ffn, gate_, gate_);
      gate.in2 = up_, gate.activation = 1;
      list.push_back(gate);
      multiply(list, gate_, turned_ffn_, {{6, branch_}}, layer);
    }
    if (rows_ > 64) {
      CudaCommand take = op(CudaOp::take, s_.hidden, hidden_, normed_);
      take.rows = 1, take.weight = last_;
      list.push_back(take);
      multiply(list, normed_, turned_, {{7, logits_}}, 0);
      if (encoding_ > 100) list[list.size() - 2].rows = 1;
    } else {
      norm(list, true);
      multiply(list, normed_, turned_, {{7, logits_}}, 0);
    }
    return list;
  }

  Shape s_;
  uint32_t encoding_, rows_ = 0, longest_ = 0, slice_count_ = 0;
  uint64_t bytes_ = 0, page_bytes_ = 0;
  std::vector<Matrix> matrices_;
  Matrix head_{};
  std::vector<void*> held_, own_;
  std::vector<std::byte*> cache_;
  CudaStep step_{};
  float *hidden_ = nullptr, *branch_ = nullptr, *normed_ = nullptr, *turned_ = nullptr,
        *turned_qkv_ = nullptr, *query_ = nullptr, *key_ = nullptr, *value_ = nullptr, *context_ = nullptr,
        *gate_ = nullptr, *up_ = nullptr, *turned_ffn_ = nullptr, *logits_ = nullptr, *weight_ = nullptr,
        *mix_ = nullptr, *rope_ = nullptr;
  int32_t* last_ = nullptr;
};

}  // namespace cairn::bench
