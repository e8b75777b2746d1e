#include <nlohmann/json.hpp>

#include "offload/timeline.hpp"

namespace cairn::offload {

// The trace event format: metadata events ("M") name process and threads, complete events ("X") are runs, in
// microseconds. Perfetto reads it too.
std::string chrome_trace(const Timeline& timeline) {
  using Json = nlohmann::ordered_json;
  Json events = Json::array();
  const auto named = [&](const char* what, int thread, const std::string& name) {
    events.push_back({{"name", what}, {"ph", "M"}, {"pid", 1}, {"tid", thread}, {"args", {{"name", name}}}});
  };
  named("process_name", 0, timeline.title);
  for (Processor processor : {Processor::npu, Processor::cpu}) {
    const auto& own = processor == Processor::npu ? timeline.npu : timeline.cpu;
    named("thread_name", static_cast<int>(processor) + 1, own.empty() ? name(processor) : own);
  }
  for (const Event& event : timeline.events)
    events.push_back({{"name", name(event.kind)},
                      {"cat", name(event.processor)},
                      {"ph", "X"},
                      {"pid", 1},
                      {"tid", static_cast<int>(event.processor) + 1},
                      {"ts", event.begin * 1e6},
                      {"dur", (event.end - event.begin) * 1e6},
                      {"args", {{"chunk", event.chunk}, {"layer", event.layer}}}});
  const Json trace = {{"traceEvents", std::move(events)},
                      {"displayTimeUnit", "ms"},
                      {"otherData",
                       {{"title", timeline.title},
                        {"makespan_s", timeline.makespan()},
                        {"npu_bubble", timeline.bubble(Processor::npu)},
                        {"cpu_bubble", timeline.bubble(Processor::cpu)}}}};
  // Titles come from files; what is no UTF-8 in them must not fail here.
  return trace.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace cairn::offload
