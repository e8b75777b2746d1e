#include "stack/importance.hpp"

#include <algorithm>

#include "base/interruptible.hpp"
#include "stack/float_ops.hpp"

namespace cairn::stack {

Importance measure_importance(const gguf::File& file, const graph::Model& model,
                              std::span<const std::vector<text::Token>> windows, ThreadPool& pool,
                              const std::function<void(uint64_t done, uint64_t total)>& progress,
                              const Differentiator::Ends* ends, size_t first, size_t total) {
  const size_t window = windows.front().size(), at_once = std::max<size_t>(1, 1024 / window);
  Importance result;
  const auto of = [](NumbersOfTensors& all, const std::string& name, size_t size) -> std::vector<float>& {
    for (auto& [other, numbers] : all) {
      if (other == name) return numbers;
    }
    return all.emplace_back(name, std::vector<float>(size, 0.0f)).second;
  };
  Differentiator differentiator(file, model, static_cast<uint32_t>(window), pool);
  const float share = 1 / static_cast<float>((total == 0 ? windows.size() : total) * window);
  const uint64_t batches = (windows.size() + at_once - 1) / at_once,
                 steps = batches * model.layers.size() * 2;
  uint64_t done = 0;
  for (size_t i = 0; i < windows.size(); i += at_once) {
    const auto batch = windows.subspan(i, std::min(at_once, windows.size() - i));
    differentiator.sample(
        batch, first + i,
        [&](uint32_t, const graph::Op& op, const float* gradient, const float*, size_t tokens) {
          std::vector<float>& rows = of(result.rows, op.weight, file.tensor(op.weight).rows());
          run_interruptible(pool, op.rows, [&](size_t, size_t r) {
            double sum = 0;
            for (size_t t = 0; t < tokens; ++t)
              sum += static_cast<double>(gradient[r * tokens + t]) *
                     static_cast<double>(gradient[r * tokens + t]);
            rows[op.row_begin + r] += static_cast<float>(sum) * share;
          });
          float* each = of(result.tokens, op.weight, windows.size() * window).data() + i * window;
          for_parts(tokens, pool, [&](size_t begin, size_t end) {
            for (size_t r = 0; r < op.rows; ++r) {
              for (size_t t = begin; t < end; ++t)
                each[t] += gradient[r * tokens + t] * gradient[r * tokens + t];
            }
          });
        },
        [&] { progress(std::min(done++, steps), steps); }, ends);
  }
  progress(steps, steps);
  return result;
}

}  // namespace cairn::stack
