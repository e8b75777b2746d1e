// The output head: a vocabulary's logits never stand in memory for more than some tokens.
#include <algorithm>

#include "base/interruptible.hpp"
#include "base/random.hpp"
#include "stack/differentiate.hpp"
#include "stack/float_ops.hpp"

namespace cairn::stack {
namespace {

constexpr size_t kHeadTokens = 256;       // whose logits are held at a time
constexpr size_t kVocabularyPart = 2048;  // rows of the output head in float at a time

float cap_of(const graph::Model& model) {
  for (const graph::Op& op : model.head) {
    if (op.kind == graph::OpKind::softcap) return op.factor;
  }
  return 0;
}

// What the logits are multiplied by before the cap.
float scale_of(const graph::Model& model) {
  for (const graph::Op& op : model.head) {
    if (op.kind == graph::OpKind::scale && op.input == graph::Slot::logits) return op.factor;
  }
  return 1;
}

void scale(std::vector<float>& values, float factor, ThreadPool& pool) {
  if (factor == 1) return;
  for_parts(values.size(), pool, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) values[i] *= factor;
  });
}

}  // namespace

// Does what comes before the output product and returns that.
const graph::Op& Differentiator::before_head(std::vector<Saved>* tape, std::vector<const graph::Op*>* ops) {
  const graph::Op* output = nullptr;
  for (const graph::Op& op : model_.head) {
    using graph::OpKind;
    if (op.kind == OpKind::linear) output = &op;
    if (op.kind == OpKind::linear || op.input == graph::Slot::logits || op.kind == OpKind::quantize) continue;
    if (ops != nullptr) ops->push_back(&op);
    forward(op, tape);
  }
  return *output;
}

// Of tokens [first, first + tokens), scaled, without bias and cap: [vocabulary][tokens].
void Differentiator::logits(const graph::Op& output, const Buffer& x, size_t first, size_t tokens,
                            Buffer& to) {
  to.assign(output.rows * tokens, 0.0f);
  for (size_t row = 0; row < output.rows; row += kVocabularyPart) {
    const size_t count = std::min<size_t>(kVocabularyPart, output.rows - row);
    load(output.weight, output.row_begin + row, count, Need::columns);
    product(count, model_.width(output.input), transposed_.data(), x.data() + first, tokens_,
            to.data() + row * tokens, tokens, tokens);
  }
  scale(to, scale_of(model_), pool_);
}

// Some tokens' logits at a time, their gradients, and what those say about the head's input.
double Differentiator::head(const Objective& objective, const Step& step) {
  std::vector<Saved> tape;
  std::vector<const graph::Op*> ops;
  const graph::Op& output = before_head(&tape, &ops);
  const float cap = cap_of(model_), factor = scale_of(model_);
  const size_t k = model_.width(output.input), rows = output.rows;
  const Buffer& x = slot(output.input);
  Buffer bias = vector(output.bias);
  scale(bias, factor, pool_);
  const float* const add = bias.empty() ? nullptr : bias.data();
  Buffer dx(k * tokens_, 0.0f), mine, teachers;
  std::vector<double> losses(tokens_ / kSoftmaxTokens);
  if (objective.ends != nullptr) objective.ends->features(x.data(), tokens_);
  for (size_t first = 0; first < tokens_; first += kHeadTokens) {
    if (step) step();
    const size_t tokens = std::min(kHeadTokens, tokens_ - first);
    logits(output, x, first, tokens, mine);
    if (objective.teacher != nullptr) logits(output, *objective.teacher, first, tokens, teachers);
    run_interruptible(pool_, tokens / kSoftmaxTokens, [&](size_t, size_t part) {
      const size_t begin = part * kSoftmaxTokens;
      if (objective.teacher != nullptr) {
        losses[first / kSoftmaxTokens + part] =
            distillation_gradient(mine.data() + begin, teachers.data() + begin, rows, tokens, add, cap,
                                  1 / static_cast<float>(tokens_));
        return;
      }
      std::array<double, kSoftmaxTokens> draws;
      for (size_t t = 0; t < kSoftmaxTokens; ++t) {
        draws[t] = SplitMix64((objective.seed << 32) + first + begin + t).uniform();
      }
      softmax_gradient(mine.data() + begin, rows, tokens, add, cap, draws);
    });
    scale(mine, factor, pool_);
    if (objective.ends != nullptr) objective.ends->logits(output, mine.data(), tokens);
    for (size_t row = 0; row < rows; row += kVocabularyPart) {
      const size_t count = std::min(kVocabularyPart, rows - row);
      load(output.weight, output.row_begin + row, count, Need::rows);
      product(k, count, weights_.data(), mine.data() + row * tokens, tokens, dx.data() + first, tokens_,
              tokens);
    }
  }
  add_gradient(output.input, dx);
  for (size_t i = ops.size(); i-- > 0;) backward(0, *ops[i], tape[i], {});
  double loss = 0;
  for (const double part : losses) loss += part;
  return loss;
}

}  // namespace cairn::stack
