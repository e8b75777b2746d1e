#include "offload/learned_seconds.hpp"

#include <algorithm>

namespace cairn::offload {
namespace {

// Of no machine in particular: the first schedule needs proportions only.
constexpr double kInt8Rate = 1e12, kFloatRate = 1e11, kElementRate = 2e9;

}  // namespace

LearnedSeconds::LearnedSeconds(const graph::HyperParameters& p, uint32_t chunk) {
  const double t = chunk, heads = static_cast<double>(p.heads) * p.head_size,
               kv = static_cast<double>(p.kv_heads) * p.head_size, d = p.embedding, f = p.ffn;
  const auto set = [&](TaskKind kind, double a, double b = 0) { lines_[static_cast<size_t>(kind)] = {a, b}; };
  const double floats = t * d * 4 / kElementRate;
  set(TaskKind::attention_input, floats);
  set(TaskKind::qkv, 2 * t * d * (heads + 2 * kv) / kInt8Rate);
  set(TaskKind::attention, 2 * t * t * heads / kFloatRate, 4 * t * t * heads / kFloatRate);
  set(TaskKind::attention_output, 2 * t * d * heads / kInt8Rate);
  set(TaskKind::ffn_input, floats);
  set(TaskKind::ffn, 6 * t * d * f / kInt8Rate);
  set(TaskKind::ffn_middle, t * f * 2 / kElementRate);
  set(TaskKind::ffn_down, 2 * t * d * f / kInt8Rate);
  for (const TaskKind kind : {TaskKind::shadow_qkv, TaskKind::shadow_attention_output,
                              TaskKind::shadow_gate_up, TaskKind::shadow_down}) {
    set(kind, floats);
  }
}

double LearnedSeconds::seconds(uint32_t chunk, uint32_t, TaskKind kind) const {
  const Line& line = lines_[static_cast<size_t>(kind)];
  return std::max(line.a + line.b * chunk, 1e-9);
}

void LearnedSeconds::learn(const Timeline& timeline) {
  struct Sums {
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;
  };
  std::array<Sums, static_cast<size_t>(TaskKind::count)> sums{};
  for (const Event& event : timeline.events) {
    Sums& s = sums[static_cast<size_t>(event.kind)];
    const double x = event.chunk, y = event.end - event.begin;
    s.n += 1, s.x += x, s.y += y, s.xx += x * x, s.xy += x * y;
  }
  for (size_t kind = 0; kind < sums.size(); ++kind) {
    const Sums& s = sums[kind];
    if (s.n == 0) continue;
    const double spread = s.n * s.xx - s.x * s.x;
    // Only attention depends on the index; for others a slope would be noise.
    const bool sloped = static_cast<TaskKind>(kind) == TaskKind::attention && spread > 0;
    const double b = sloped ? std::max(0.0, (s.n * s.xy - s.x * s.y) / spread) : 0;
    lines_[kind] = {(s.y - b * s.x) / s.n, b};
  }
}

}  // namespace cairn::offload
