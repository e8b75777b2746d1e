#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.hpp"
#include "llm/model.hpp"
#include "stack/costs.hpp"
#include "stack/encode.hpp"
#include "stack/moments.hpp"
#include "stack/shares.hpp"
#include "stack/sources.hpp"
#include "stack/spool.hpp"
#include "stack/table_samples.hpp"
#include "stack/token_weights.hpp"

namespace cairn::stack {

// What an encoder measures on a text: what errors cost, and second moments of inputs; in one go, or added
// from shares (EncodeOptions::shares) that are kept beside the stack.
class TextStatistics {
 public:
  // What is referred to must outlive it.
  struct Job {
    const llm::Model& model;
    const graph::Model& graph;
    std::span<const Source> sources;
    std::span<const std::vector<text::Token>> windows;
    const EncodeOptions& options;
    std::string path, key;  // the stack's; what its partial files are made with
  };
  // pass_done: called after each pass over the text for moments. Error invalid_argument: shares of what has
  // none, or more of them than windows for importance.
  TextStatistics(Job job, ThreadPool& pool, EncodeProgress progress, std::function<void()> pass_done);

  static uint32_t layers_of_pass(const EncodeOptions& options, std::span<const Source> sources,
                                 size_t layers);  // whose moments fit the memory allowed

  size_t importance_windows() const;
  // Makes a share, or what of it is not there yet.
  void gather(uint32_t share);
  // The shares that are not there yet, if it goes by shares.
  void gather_all();
  void remove_shares() const;

  CostSums costs();
  // As TokenWeights::weights gives them; before, all tokens are alike.
  void weigh_by(std::vector<float> weights) { weights_.set_weights(std::move(weights)); }
  // Of layers [first, first + layers), tokens weighed.
  MomentCollector moments(uint32_t first, uint32_t layers);
  void observe(std::string_view stage, WindowRange range, const ObserveInputs& add);
  // Hands on rows times the roots of their tokens' weights.
  ObserveInputs weighted(ObserveInputs add) const;

 private:
  bool by_shares() const { return job_.options.shares > 1 && !job_.windows.empty(); }
  Spool share_spool(uint32_t share) const;
  CostSums new_sums() { return {job_.model.file(), job_.graph, job_.sources, pool_}; }
  CostSums measured_costs(size_t begin, size_t end);

  const Job job_;
  ThreadPool& pool_;
  const EncodeProgress progress_;
  const std::function<void()> pass_done_;
  TokenWeights weights_{};
};

}  // namespace cairn::stack
