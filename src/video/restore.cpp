#include "video/restore.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <optional>
#include <vector>

#include "base/error.hpp"
#include "base/thread_pool.hpp"
#include "video/float_runner.hpp"
#include "video/row_runner.hpp"

namespace cairn::video {
namespace {

constexpr size_t kCacheBytes = 400 << 10;  // what a tile's rows may take of the second-level cache
constexpr uint32_t kFloatTile = 64;
constexpr uint32_t kFewestRows = 32;  // of a tile: rows above and below it are computed anew

// A network that is ready to run, by integers or by floats.
struct Engine {
  const Network* network = nullptr;
  std::optional<IntegerNetwork> integers;
};

// One piece of one plane, for one thread.
struct Task {
  const Engine* engine;
  size_t plane;
  Rectangle rectangle;
};

Network plain_bicubic(uint32_t scale) {
  Architecture linear;
  linear.kind = Architecture::Kind::linear;
  return make_network(linear, scale);
}

// The width of tiles that computes the fewest pixels among those whose rows stay in the cache.
uint32_t tile_width(const IntegerNetwork& network, uint32_t width, kernels::Target target) {
  uint32_t best = width;
  size_t fewest = SIZE_MAX;
  for (uint32_t count = 1; count <= 32 && width / count >= 16; ++count) {
    const uint32_t each = (width + count - 1) / count;
    if (count > 1 && each < 64) break;
    const size_t pixels = count * row_pixels(network, each, target);
    const bool fits = row_scratch_bytes(network, each, target) <= kCacheBytes;
    if (fits && pixels < fewest) {
      fewest = pixels;
      best = each;
    }
  }
  if (fewest == SIZE_MAX) best = std::min(width, 64u);
  return best;
}

}  // namespace

struct Restorer::State {
  Restoration restoration;
  RestoreOptions options;
  Format small, restored;
  std::vector<Engine> luma;
  Network chroma_network;
  Engine chroma;
  uint32_t luma_frames = 1, chroma_frames = 1;
  std::unique_ptr<ThreadPool> pool;
  std::vector<RowScratch> scratch;
  std::vector<Task> tasks;

  Engine make_engine(const Network& network, const std::string& what) const;
  void cut(const Engine& engine, size_t plane, const Rectangle& r);
  void cut_patches(uint64_t index, const Labels& labels);
};

Engine Restorer::State::make_engine(const Network& network, const std::string& what) const {
  Engine engine{&network, std::nullopt};
  if (runs_in_integers(network) && !(options.floats && !network.layers.empty()))
    engine.integers = make_integer(network, small.bits, what);
  return engine;
}

// Tiles that fill the threads.
void Restorer::State::cut(const Engine& engine, size_t plane, const Rectangle& r) {
  const uint32_t width = r.right - r.left, height = r.bottom - r.top;
  uint32_t across = kFloatTile, down = kFloatTile;
  if (engine.integers) {
    across = tile_width(*engine.integers, width, options.target);
    const uint32_t columns = (width + across - 1) / across;
    const auto wanted = static_cast<uint32_t>(pool->threads() == 1 ? 1 : 3 * pool->threads());
    const uint32_t bands =
        std::clamp((wanted + columns - 1) / columns, 1u, std::max(1u, height / kFewestRows));
    down = (height + bands - 1) / bands;
  }
  for (uint32_t y = r.top; y < r.bottom; y += down) {
    for (uint32_t x = r.left; x < r.right; x += across)
      tasks.push_back({&engine, plane, {x, y, std::min(x + across, r.right), std::min(y + down, r.bottom)}});
  }
}

// Neighbouring patches with one label, in a row, are one rectangle; equal rows below each other as well.
void Restorer::State::cut_patches(uint64_t index, const Labels& labels) {
  const std::vector<uint8_t>& map = labels.frames[index];
  const auto at = [&](uint32_t row, uint32_t column) {
    return map[static_cast<size_t>(row) * labels.columns + column];
  };
  std::vector<bool> done(map.size());
  for (uint32_t row = 0; row < labels.rows; ++row) {
    for (uint32_t column = 0; column < labels.columns; ++column) {
      if (done[static_cast<size_t>(row) * labels.columns + column]) continue;
      const uint8_t label = at(row, column);
      uint32_t right = column, bottom = row;
      const auto free = [&](uint32_t r, uint32_t c) {
        return at(r, c) == label && !done[static_cast<size_t>(r) * labels.columns + c];
      };
      while (right < labels.columns && free(row, right)) ++right;
      const auto whole = [&](uint32_t r) {
        for (uint32_t c = column; c < right; ++c) {
          if (!free(r, c)) return false;
        }
        return true;
      };
      while (bottom < labels.rows && whole(bottom)) ++bottom;
      for (uint32_t r = row; r < bottom; ++r) {
        for (uint32_t c = column; c < right; ++c) done[static_cast<size_t>(r) * labels.columns + c] = true;
      }
      cut(luma[label], 0,
          {column * labels.patch_width, row * labels.patch_height,
           std::min(right * labels.patch_width, small.width),
           std::min(bottom * labels.patch_height, small.height)});
    }
  }
}

Restorer::Restorer(const Restoration& restoration, const Format& small, const std::string& what,
                   const RestoreOptions& options)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.restoration = restoration;
  s.options = options;
  s.small = s.restored = small;
  s.restored.width = restoration.width;
  s.restored.height = restoration.height;
  if (small.width != restoration.small_width || small.height != restoration.small_height) {
    fail(ErrorCode::format, "{}: the small video is {}×{}, its networks are for {}×{}", what, small.width,
         small.height, restoration.small_width, restoration.small_height);
  }
  if (restoration.width == 0 || restoration.height == 0 || restoration.networks.empty() ||
      uint64_t{small.width} * restoration.scale < restoration.width ||
      uint64_t{small.height} * restoration.scale < restoration.height) {
    fail(ErrorCode::format, "{}: {}×{} times {} does not cover {}×{}", what, small.width, small.height,
         restoration.scale, restoration.width, restoration.height);
  }
  for (size_t i = 0; i < s.restoration.networks.size(); ++i) {
    const Network& network = s.restoration.networks[i];
    if (network.scale != restoration.scale)
      fail(ErrorCode::format, "{}: network {} is for ×{}, not ×{}", what, i, network.scale,
           restoration.scale);
    s.luma.push_back(s.make_engine(network, fmt::format("{}: network {}", what, i)));
    s.luma_frames = std::max(s.luma_frames, network.frames);
  }
  s.chroma_network = s.restoration.chroma ? *s.restoration.chroma : plain_bicubic(restoration.scale);
  if (s.chroma_network.scale != restoration.scale)
    fail(ErrorCode::format, "{}: the chroma's network is for ×{}", what, s.chroma_network.scale);
  s.chroma = s.make_engine(s.chroma_network, what + ": the chroma's network");
  s.chroma_frames = s.chroma_network.frames;
  s.pool = std::make_unique<ThreadPool>(options.threads == 0 ? usable_processors() : options.threads,
                                        ThreadPool::Idle::sleep);
  s.scratch.resize(s.pool->threads());
}
Restorer::~Restorer() = default;
Restorer::Restorer(Restorer&&) noexcept = default;
Restorer& Restorer::operator=(Restorer&&) noexcept = default;

const Format& Restorer::format() const noexcept {
  return state_->restored;
}
bool Restorer::needs_before() const noexcept {
  return std::max(state_->luma_frames, state_->chroma_frames) >= 2;
}
bool Restorer::needs_after() const noexcept {
  return std::max(state_->luma_frames, state_->chroma_frames) >= 3;
}

void Restorer::restore(uint64_t index, const Frame* before, const Frame& small, const Frame* after,
                       Frame& out) {
  State& s = *state_;
  if (small.format != s.small) fail(ErrorCode::invalid_argument, "restore: a frame of another format");
  out.allocate(s.restored);
  out.pts = small.pts;
  out.duration = small.duration;
  out.key = small.key;
  s.tasks.clear();
  if (s.restoration.labels && index < s.restoration.labels->frames.size()) {
    s.cut_patches(index, *s.restoration.labels);
  } else {
    s.cut(s.luma[network_of(s.restoration, index)], 0, {0, 0, s.small.width, s.small.height});
  }
  for (size_t p = 1; p < s.small.planes(); ++p)
    s.cut(s.chroma, p, {0, 0, s.small.plane_width(p), s.small.plane_height(p)});

  std::array<std::array<PlaneView, 3>, 3> views;  // [plane][this, before, after]
  for (size_t p = 0; p < s.small.planes(); ++p) {
    views[p] = {small.planes[p].view(), (before == nullptr ? small : *before).planes[p].view(),
                (after == nullptr ? small : *after).planes[p].view()};
  }
  // Memory is reserved here as far as it can be: tasks must not throw.
  size_t bytes = 0;
  for (const Task& task : s.tasks) {
    if (!task.engine->integers) continue;
    bytes = std::max(bytes, row_scratch_bytes(*task.engine->integers,
                                              task.rectangle.right - task.rectangle.left, s.options.target));
  }
  for (RowScratch& scratch : s.scratch) scratch.reserve(bytes);
  std::atomic<bool> no_memory = false;
  s.pool->run(s.tasks.size(), [&](size_t thread, size_t i) {
    const Task& task = s.tasks[i];
    const std::span<const PlaneView> frames(views[task.plane].data(), task.engine->network->frames);
    try {
      if (task.engine->integers) {
        run_rows(*task.engine->integers, s.small.bits, frames, task.rectangle, s.options.target,
                 s.scratch[thread], out.planes[task.plane]);
      } else {
        run_float(*task.engine->network, s.small.peak(), frames, task.rectangle, out.planes[task.plane]);
      }
    } catch (const std::exception&) {  // bad_alloc, and what reserve() makes of it
      no_memory = true;
    }
  });
  if (no_memory) fail(ErrorCode::out_of_memory, "no memory to restore a frame");
}

}  // namespace cairn::video
