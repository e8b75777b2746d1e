#include <algorithm>
#include <atomic>
#include <future>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "base/error.hpp"
#include "base/thread_pool.hpp"
#include "quantize/scheme.hpp"
#include "stack/differentiate.hpp"
#include "stack/distillation.hpp"

namespace cairn::stack {
namespace {

class CpuDistiller : public Distiller {
 public:
  CpuDistiller(const Distillation& of, uint32_t threads, uint32_t batch)
      : of_(of), teachers_(of.windows.size()) {
    for (size_t i = 0; i < of.matrices.size(); ++i) {
      matrices_[of.matrices[i].name] = i;
      rotations_.emplace_back(of.matrices[i].columns);
      most_scratch_ = std::max(most_scratch_, rotations_.back().scratch_floats());
    }
    const uint32_t workers = std::min(threads, batch);
    for (uint32_t i = 0; i < workers; ++i)
      workers_.push_back(std::make_unique<Worker>(*this, threads / workers));
  }

  // Summed in the batch's order: the result is the same with any number of threads.
  double gradients(const Work& work, std::span<float> slopes, const Tick& tick) override {
    work_ = &work;
    const size_t count = work.windows.size();
    parts_.resize(std::max(parts_.size(), count));
    std::vector<double> losses(count);
    share_out(count, tick, [&](Worker& worker, size_t i, const Tick& own_tick) {
      losses[i] = window_gradients(worker, work.windows[i], parts_[i], own_tick);
    });
    const auto share = 1 / static_cast<float>(count);
    std::fill(slopes.begin(), slopes.end(), 0.0f);
    for (size_t i = 0; i < count; ++i) {
      for (size_t p = 0; p < slopes.size(); ++p) slopes[p] += share * parts_[i][p];
    }
    return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(count);
  }

 private:
  // What works on one window at a time: with a thread each there is nothing to wait for.
  struct Worker {
    Worker(const CpuDistiller& owner, uint32_t threads)
        : pool(threads, ThreadPool::Idle::sleep),
          scratch(pool.threads(), std::vector<float>(owner.most_scratch_)),
          teacher(owner.of_.source, owner.of_.model, owner.window(), pool),
          student(owner.of_.source, owner.of_.model, owner.window(), pool,
                  [this, &owner](const std::string& tensor, uint64_t row, size_t thread, float* out) {
                    return owner.read_row(tensor, row, scratch[thread].data(), out);
                  }) {}
    ThreadPool pool;
    std::vector<std::vector<float>> scratch;  // a thread's, of rotations
    Differentiator teacher, student;
  };

  uint32_t window() const { return static_cast<uint32_t>(of_.windows.front().size()); }

  // body(worker, item, tick) for all items, by all workers.
  template <class Body>
  void share_out(size_t count, const Tick& tick, const Body& body) {
    std::atomic<size_t> next{0};
    std::atomic<bool> stop{false};
    const auto work = [&](Worker& worker, const Tick& own_tick) {
      for (size_t i; (i = next++) < count;) body(worker, i, own_tick);
    };
    std::vector<std::future<void>> others;
    for (size_t i = 1; i < std::min(workers_.size(), count); ++i) {
      others.push_back(std::async(std::launch::async, [&, i] {
        work(*workers_[i], [&] {
          if (stop) fail(ErrorCode::cancelled, "tuning was interrupted");
        });
      }));
    }
    try {
      work(*workers_.front(), tick);
    } catch (...) {
      stop = true;
      for (const std::future<void>& other : others) other.wait();
      throw;
    }
    for (std::future<void>& other : others) other.get();
  }

  bool read_row(const std::string& tensor, uint64_t row, float* scratch, float* out) const {
    const auto found = matrices_.find(tensor);
    if (found == matrices_.end()) return false;
    const CodedMatrix& m = of_.matrices[found->second];
    const size_t stored = m.stored[row];
    const uint8_t level = work_->levels[found->second][stored / m.rows_per_group];
    if (level > kPlanes) return false;
    const int8_t* const table = of_.layout.tables.data() + table_offset(level);
    const float scale =
        m.scales[(level - 1) * size_t{m.rows} + stored] * (1 + work_->changes[m.parameter(level, stored)]);
    const uint8_t* const from = m.codes.data() + stored * m.columns;
    for (size_t c = 0; c < m.columns; ++c)
      out[c] = scale * static_cast<float>(table[from[c] >> (kPlanes - level)]);
    if (m.rotated) rotations_[found->second].apply_inverse(out, scratch);
    return true;
  }

  double window_gradients(Worker& worker, size_t window, std::vector<float>& slopes, const Tick& tick) {
    const Differentiator::Windows text = of_.windows.subspan(window, 1);
    if (teachers_[window].empty()) teachers_[window] = worker.teacher.features(text, tick);
    slopes.assign(work_->changes.size(), 0.0f);
    // y = s (1 + change) z, so that dL/dchange = Σ dL/dy · y / (1 + change).
    const auto visit = [&](uint32_t, const graph::Op& op, const float* gradient, const float* output,
                           size_t tokens) {
      const auto found = matrices_.find(op.weight);
      if (found == matrices_.end()) return;
      const CodedMatrix& m = of_.matrices[found->second];
      worker.pool.run(op.rows, [&](size_t, size_t row) {
        const size_t stored = m.stored[op.row_begin + row];
        const uint8_t level = work_->levels[found->second][stored / m.rows_per_group];
        if (level > kPlanes) return;
        float sum = 0;
        for (size_t t = row * tokens; t < (row + 1) * tokens; ++t) sum += gradient[t] * output[t];
        const size_t at = m.parameter(level, stored);
        slopes[at] += sum / (1 + work_->changes[at]);
      });
    };
    return worker.student.distil(text, teachers_[window], visit, tick);
  }

  const Distillation of_;
  std::unordered_map<std::string, size_t> matrices_;
  std::vector<quantize::Rotation> rotations_;  // [matrix]
  size_t most_scratch_ = 0;                    // floats that they want
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Differentiator::Buffer> teachers_;  // [window], empty until needed
  std::vector<std::vector<float>> parts_;         // [window of the batch][parameter]
  const Work* work_ = nullptr;                    // at hand
};

}  // namespace

std::unique_ptr<Distiller> make_cpu_distiller(const Distillation& of, uint32_t threads, uint32_t batch) {
  return std::make_unique<CpuDistiller>(of, threads, batch);
}

}  // namespace cairn::stack
