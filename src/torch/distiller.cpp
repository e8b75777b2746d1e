// libcairn_torch.so: gradients of the distance between a stack and its source, by libtorch's autograd. As in
// stack/differentiate.hpp only what a layer begins with is kept; the rest is computed again on the way back.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/cuda.h>
#include <torch/types.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "base/plugin.hpp"
#include "torch/codes.hpp"
#include "torch/ops.hpp"

namespace cairn::torch_part {
namespace {

using graph::OpKind;
using graph::Slot;
using stack::Distiller;

constexpr std::array<Slot, 3> kCarried = {Slot::hidden, Slot::branch, Slot::branch2};
constexpr int64_t kLogitBytes = int64_t{512} << 20;  // of the logits that are held at a time
constexpr size_t kTeacherWindows = 8;                // of the source's pass over the text at a time

class TorchDistiller : public Distiller {
 public:
  TorchDistiller(const stack::TorchJob& job, at::Device device)
      : job_(job), device_(device), ops_(job_, device), codes_(job_, device) {}

  double gradients(const Work& work, std::span<float> slopes, const Tick& tick) override {
    try {
      return take(work, slopes, tick);
    } catch (const c10::Error& error) {
      throw std::runtime_error("libtorch: " + std::string(error.what_without_backtrace()));
    }
  }

 private:
  static std::vector<const graph::Op*> all_ops(const graph::Layer& layer) {
    std::vector<const graph::Op*> ops;
    for (const graph::OpList& list : layer) {
      for (const graph::Op& op : list) ops.push_back(&op);
    }
    return ops;
  }

  at::Tensor tokens(std::span<const size_t> windows) const {
    std::vector<int64_t> all;
    for (const size_t w : windows) all.insert(all.end(), job_.windows[w].begin(), job_.windows[w].end());
    return at::tensor(all, at::kLong).to(device_);
  }

  at::Tensor source(const std::string& name, uint64_t first, uint64_t rows) const {
    return ops_.upload(job_.read(name, first, rows)).view({static_cast<int64_t>(rows), -1});
  }

  const graph::Op& output() const {
    return *std::find_if(job_.model.head.begin(), job_.model.head.end(),
                         [](const graph::Op& op) { return op.kind == OpKind::linear; });
  }

  // The head's ops before its product.
  void enter_head(Slots& slots) {
    for (const graph::Op& op : job_.model.head) {
      if (op.kind == OpKind::linear) return;
      ops_.run(op, slots, {});
    }
  }

  at::Tensor capped(at::Tensor logits) {
    if (const at::Tensor bias = ops_.vector(output().bias); bias.defined()) logits = logits + bias;
    for (const graph::Op& op : job_.model.head) {
      if (op.kind == OpKind::scale && op.input == Slot::logits) logits = op.factor * logits;
      if (op.kind == OpKind::softcap) logits = op.factor * at::tanh(logits / op.factor);
    }
    return logits;
  }

  // What the source's head reads, of all windows, [window][tokens][features]; each layer's weights are read
  // once.
  void observe_source(const Tick& tick) {
    const at::NoGradGuard no_gradients;
    std::vector<Slots> parts;
    const at::Tensor table = source(job_.model.embed.front().weight, 0, job_.model.parameters.vocabulary);
    for (size_t first = 0; first < job_.windows.size(); first += kTeacherWindows) {
      std::vector<size_t> windows;
      for (size_t w = first; w < std::min(first + kTeacherWindows, job_.windows.size()); ++w)
        windows.push_back(w);
      Slots& slots = parts.emplace_back();
      slot(slots, Slot::hidden) = table.index_select(0, tokens(windows));
      for (const graph::Op& op : job_.model.embed) {
        if (op.kind != OpKind::embed) ops_.run(op, slots, {});
      }
    }
    for (const graph::Layer& layer : job_.model.layers) {
      std::unordered_map<const graph::Op*, at::Tensor> weights;
      const auto product = [&](const graph::Op& op, const at::Tensor& x) {
        at::Tensor& w = weights[&op];
        if (!w.defined()) w = source(op.weight, op.row_begin, op.rows).t();
        return x.matmul(w);
      };
      for (Slots& slots : parts) {
        if (tick) tick();
        for (const graph::Op* op : all_ops(layer)) ops_.run(*op, slots, product);
        keep_carried(slots);
      }
    }
    for (Slots& slots : parts) {
      enter_head(slots);
      for (const at::Tensor& window : slot(slots, output().input).split(window_tokens()))
        features_.push_back(window);
    }
    source_head_ = source(output().weight, output().row_begin, output().rows);
  }

  int64_t window_tokens() const { return static_cast<int64_t>(job_.windows.front().size()); }

  static void keep_carried(Slots& slots) {
    Slots kept;
    for (const Slot s : kCarried) slot(kept, s) = slot(slots, s);
    slots = std::move(kept);
  }

  at::Tensor product(const graph::Op& op, const at::Tensor& x, std::vector<Leaf>* leaves) {
    if (!codes_.has(op.weight)) return x.matmul(source(op.weight, op.row_begin, op.rows).t());
    auto [y, leaf] = codes_.product(op.weight, op.row_begin, op.rows, x);
    if (leaves != nullptr) leaves->push_back(leaf);
    return y;
  }

  void run_layer(const graph::Layer& layer, Slots& slots, std::vector<Leaf>* leaves) {
    for (const graph::Op* op : all_ops(layer)) {
      ops_.run(*op, slots,
               [&](const graph::Op& linear, const at::Tensor& x) { return product(linear, x, leaves); });
    }
    keep_carried(slots);
  }

  void embed(const at::Tensor& named, Slots& slots, std::vector<Leaf>* leaves) {
    for (const graph::Op& op : job_.model.embed) {
      if (op.kind != OpKind::embed) {
        ops_.run(op, slots, {});
      } else if (codes_.has(op.weight)) {
        auto [rows, leaf] = codes_.rows(op.weight, named);
        slot(slots, op.output) = rows;
        if (leaves != nullptr) leaves->push_back(leaf);
      } else {
        if (!embedding_.defined()) embedding_ = source(op.weight, 0, job_.model.parameters.vocabulary);
        slot(slots, op.output) = embedding_.index_select(0, named);
      }
    }
  }

  // Adds what the leaves' gradients are to slopes_.
  void collect(const std::vector<Leaf>& leaves, const std::vector<at::Tensor>& gradients, size_t from) {
    for (size_t i = 0; i < leaves.size(); ++i) {
      if (const at::Tensor& g = gradients[from + i]; g.defined())
        slopes_.index_add_(0, leaves[i].parameters, g);
    }
  }

  // What a layer or the head begins with become leaves of autograd, listed in `inputs`. Returns their slots.
  static std::vector<Slot> make_leaves(Slots& begin, std::vector<at::Tensor>& inputs) {
    std::vector<Slot> of;
    for (const Slot s : kCarried) {
      at::Tensor& value = slot(begin, s);
      if (!value.defined()) continue;
      value = value.detach().set_requires_grad(true);
      inputs.push_back(value);
      of.push_back(s);
    }
    return of;
  }

  // `after`: gradients of the layer's results, which become those of what it began with.
  void backward(const graph::Layer& layer, Slots begin, Slots& after) {
    std::vector<at::Tensor> inputs, outputs, given;
    const std::vector<Slot> of = make_leaves(begin, inputs);
    std::vector<Leaf> leaves;
    run_layer(layer, begin, &leaves);
    for (const Slot s : kCarried) {
      if (!slot(after, s).defined()) continue;
      outputs.push_back(slot(begin, s));
      given.push_back(slot(after, s));
    }
    for (const Leaf& leaf : leaves) inputs.push_back(leaf.changes);
    const auto gradients = torch::autograd::grad(outputs, inputs, given, false, false, true);
    after = {};
    for (size_t i = 0; i < of.size(); ++i) slot(after, of[i]) = gradients[i];
    collect(leaves, gradients, of.size());
  }

  // The distance, and its gradients in what the head begins with.
  double head(std::span<const size_t> windows, Slots begin, Slots& gradients) {
    std::vector<at::Tensor> inputs, features;
    const std::vector<Slot> of = make_leaves(begin, inputs);
    enter_head(begin);
    const at::Tensor x = slot(begin, output().input);
    for (const size_t w : windows) features.push_back(features_[w]);
    const at::Tensor teacher = at::cat(features);
    const int64_t count = x.size(0), part = std::max<int64_t>(kLogitBytes / (4 * int64_t{output().rows}), 1);
    at::Tensor dx = at::empty_like(x.detach());
    double loss = 0;
    for (int64_t first = 0; first < count; first += part) {
      const int64_t n = std::min(part, count - first);
      const at::Tensor mine = x.detach().narrow(0, first, n).clone().set_requires_grad(true);
      std::vector<Leaf> leaves;
      const at::Tensor theirs =
          at::log_softmax(capped(teacher.narrow(0, first, n).matmul(source_head_.t())), -1);
      const at::Tensor own =
          codes_.has(output().weight) ? product(output(), mine, &leaves) : mine.matmul(source_head_.t());
      const at::Tensor distance =
          (theirs.exp() * (theirs - at::log_softmax(capped(own), -1))).sum() / static_cast<double>(count);
      std::vector<at::Tensor> wanted = {mine};
      for (const Leaf& leaf : leaves) wanted.push_back(leaf.changes);
      const auto slopes = torch::autograd::grad({distance}, wanted);
      dx.narrow(0, first, n).copy_(slopes[0]);
      collect(leaves, slopes, 1);
      loss += distance.item<double>();
    }
    const auto back = torch::autograd::grad({x}, inputs, {dx}, false, false, true);
    for (size_t i = 0; i < of.size(); ++i) slot(gradients, of[i]) = back[i];
    return loss;
  }

  double take(const Work& work, std::span<float> slopes, const Tick& tick) {
    if (features_.empty()) observe_source(tick);
    codes_.set(work);
    slopes_ = at::zeros({static_cast<int64_t>(slopes.size())}, at::TensorOptions(device_));
    const at::Tensor named = tokens(work.windows);
    std::vector<Slots> begins;
    Slots slots;
    {
      const at::NoGradGuard no_gradients;
      embed(named, slots, nullptr);
      for (const graph::Layer& layer : job_.model.layers) {
        if (tick) tick();
        begins.push_back(slots);
        run_layer(layer, slots, nullptr);
      }
    }
    Slots gradients;
    const double loss = head(work.windows, std::move(slots), gradients);
    for (size_t layer = begins.size(); layer-- > 0;) {
      if (tick) tick();
      backward(job_.model.layers[layer], std::move(begins[layer]), gradients);
    }
    std::vector<Leaf> leaves;
    Slots again;
    embed(named, again, &leaves);
    if (!leaves.empty()) {
      const Slot s = job_.model.embed.front().output;
      collect(leaves, torch::autograd::grad({slot(again, s)}, {leaves[0].changes}, {slot(gradients, s)}), 0);
    }
    const at::Tensor host = slopes_.to(at::kCPU);
    std::copy_n(host.data_ptr<float>(), slopes.size(), slopes.begin());
    return loss;
  }

  const stack::TorchJob job_;
  const at::Device device_;
  Ops ops_;
  Codes codes_;
  std::vector<at::Tensor> features_;  // [window], what the source's head reads
  at::Tensor source_head_, embedding_;
  at::Tensor slopes_;  // [parameter]
};

Distiller* make(const stack::TorchJob& job) {
  if (job.on != stack::TuneOn::torch) dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);  // where it is
  const bool gpu = torch::cuda::is_available();
  if (job.on == stack::TuneOn::automatic && !gpu) return nullptr;
  if (job.on == stack::TuneOn::cuda && !gpu) throw std::runtime_error("libtorch finds no CUDA device");
  at::set_num_threads(static_cast<int>(job.threads));
  if (gpu) at::globalContext().setFloat32MatmulPrecision("high");
  return new TorchDistiller(job, job.on == stack::TuneOn::torch ? at::kCPU : at::kCUDA);
}

void* make_distiller(const void* job, char* message, size_t size) {
  *message = '\0';
  try {
    return make(*static_cast<const stack::TorchJob*>(job));
  } catch (const std::exception& error) {
    std::strncat(message, error.what(), size - 1);
    return nullptr;
  }
}

}  // namespace
}  // namespace cairn::torch_part

extern "C" {
__attribute__((visibility("default"))) extern const cairn::TorchPlugin cairn_torch;
const cairn::TorchPlugin cairn_torch = {{sizeof(cairn::TorchPlugin), cairn::kPluginBuild},
                                        cairn::torch_part::make_distiller};
}
