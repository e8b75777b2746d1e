#include "server/metrics.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/memory_pressure.hpp"

namespace cairn::server {
namespace {

// The exposition format: the lines of one metric together, behind its type.
class Page {
 public:
  void add(const std::string& name, const char* type, const std::string& labels, double value,
           const std::string& suffix = {}) {
    if (types_.emplace(name, type).second) order_.push_back(name);
    lines_[name] += fmt::format("{}{}{{{}}} {}\n", name, suffix, labels, value);
  }
  std::string text() const {
    std::string all;
    for (const std::string& name : order_)
      all += fmt::format("# TYPE {} {}\n{}", name, types_.at(name), lines_.at(name));
    return all;
  }

 private:
  std::vector<std::string> order_;
  std::map<std::string, std::string> types_, lines_;
};

void add_memory(Page& page, const std::string& model, const engine::Engine& engine,
                const llm::SchedulerStatus& scheduler) {
  const auto add = [&](const char* name, double value) { page.add(name, "gauge", model, value); };
  add("cairn_kv_bytes", static_cast<double>(engine.kv_bytes()));
  add("cairn_kept_prefix_bytes", static_cast<double>(scheduler.kept_bytes));
  if (!engine.elastic()) return;
  const engine::MemoryStatus memory = engine.memory();
  add("cairn_memory_stack_bytes", static_cast<double>(memory.stack));
  add("cairn_memory_stack_all_bytes", static_cast<double>(memory.stack_all));
  add("cairn_memory_bits", memory.bits);
  add("cairn_memory_device_bytes", static_cast<double>(memory.device));
}

// The process's, which its stacks share.
void add_process_memory(Page& page, const std::vector<Models::Info>& models) {
  page.add("cairn_memory_process_bytes", "gauge", "", static_cast<double>(resident_memory()));
  for (const Models::Info& model : models) {
    if (!model.model || !model.model->engine->elastic()) continue;
    const engine::MemoryStatus memory = model.model->engine->memory();
    page.add("cairn_memory_budget_bytes", "gauge", "", static_cast<double>(memory.budget));
    page.add("cairn_memory_automatic", "gauge", "", memory.automatic ? 1 : 0);
    page.add("cairn_memory_gave_way_total", "counter", "", static_cast<double>(memory.gave_way));
    return;
  }
}

// Quotes and backslashes escaped as JSON does it, which is what the format asks for.
std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

void Metrics::refused(const std::string& path, int status) {
  const std::lock_guard lock(mutex_);
  ++refused_[{path, status}];
}

void Metrics::finished(const std::string& model, const llm::Result& result) {
  const std::lock_guard lock(mutex_);
  Answers& answers = answers_[model];
  ++answers.finished[llm::name(result.finish)];
  const double seconds = result.statistics.first_token_seconds;
  if (seconds <= 0) return;
  ++answers.first_tokens;
  answers.first_token_seconds += seconds;
  for (size_t i = 0; i < kBounds.size(); ++i) answers.first_token[i] += seconds <= kBounds[i];
}

void Metrics::gone() {
  const std::lock_guard lock(mutex_);
  ++gone_;
}

std::string Metrics::text(const std::vector<Models::Info>& models) const {
  Page page;
  const std::lock_guard lock(mutex_);
  for (const Models::Info& model : models) {
    const llm::SchedulerStatus now = model.model ? model.model->scheduler->status() : llm::SchedulerStatus{};
    const llm::SchedulerStatus& past = model.past;
    const std::string own = "model=" + quoted(model.name), vllm = "model_name=" + quoted(model.name);
    const auto both = [&](const char* name, const char* as_vllm, const char* type, uint64_t value) {
      page.add(std::string("cairn_") + name, type, own, static_cast<double>(value));
      page.add(std::string("vllm:") + as_vllm, type, vllm, static_cast<double>(value));
    };
    both("requests_running", "num_requests_running", "gauge", now.running);
    both("requests_waiting", "num_requests_waiting", "gauge", now.waiting);
    both("prompt_tokens_total", "prompt_tokens_total", "counter", past.prompt_tokens + now.prompt_tokens);
    both("generated_tokens_total", "generation_tokens_total", "counter", past.tokens + now.tokens);
    both("cached_tokens_total", "prefix_cache_hits_total", "counter", past.cached_tokens + now.cached_tokens);
    page.add("vllm:prefix_cache_queries_total", "counter", vllm,
             static_cast<double>(past.prompt_tokens + now.prompt_tokens));
    page.add("cairn_model_loaded", "gauge", own, model.model ? 1 : 0);
    page.add("cairn_model_loads_total", "counter", own, static_cast<double>(model.loads));
    if (model.model) add_memory(page, own, *model.model->engine, now);
    const auto at = answers_.find(model.name);
    if (at == answers_.end()) continue;
    for (const auto& [reason, count] : at->second.finished) {
      page.add("cairn_answers_total", "counter", fmt::format("{},reason=\"{}\"", own, reason),
               static_cast<double>(count));
      page.add("vllm:request_success_total", "counter",
               fmt::format("{},finished_reason=\"{}\"", vllm, reason), static_cast<double>(count));
    }
    for (const auto& [name, labels] :
         {std::pair("cairn_first_token_seconds", own), std::pair("vllm:time_to_first_token_seconds", vllm)}) {
      const Answers& answers = at->second;
      for (size_t i = 0; i < kBounds.size(); ++i)
        page.add(name, "histogram", fmt::format("{},le=\"{}\"", labels, kBounds[i]),
                 static_cast<double>(answers.first_token[i]), "_bucket");
      page.add(name, "histogram", labels + ",le=\"+Inf\"", static_cast<double>(answers.first_tokens),
               "_bucket");
      page.add(name, "histogram", labels, answers.first_token_seconds, "_sum");
      page.add(name, "histogram", labels, static_cast<double>(answers.first_tokens), "_count");
    }
  }
  add_process_memory(page, models);
  page.add("cairn_clients_gone_total", "counter", "", static_cast<double>(gone_));
  for (const auto& [what, count] : refused_)
    page.add("cairn_refused_total", "counter",
             fmt::format("path={},status=\"{}\"", quoted(what.first), what.second),
             static_cast<double>(count));
  return page.text();
}

}  // namespace cairn::server
