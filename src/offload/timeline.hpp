// prefill: a prompt as chunks whose subgraphs run out of order on a matrix engine and the CPU beside it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace cairn::offload {

enum class Processor : uint8_t { npu, cpu, count };  // npu: whatever runs the int8 products

// What a chunk does in a layer: the six subgraphs (graph::SubgraphKind), in their order, and what shadow
// execution adds. ffn_down exists where the feed-forward part is cut before its last product (its input has
// shadow work); ffn is then the part before.
enum class TaskKind : uint8_t {
  attention_input,
  qkv,
  attention,
  attention_output,
  ffn_input,
  ffn,
  ffn_middle,  // the activation, where the CPU does it: between a cut ffn's two halves
  ffn_down,
  shadow_qkv,
  shadow_attention_output,
  shadow_gate_up,
  shadow_down,
  prepare,  // building graphs, where a stage of the simulation pays for that
  layer,    // a whole layer on the device, where a simulation puts it there
  count,
};
const char* name(Processor processor);
const char* name(TaskKind kind);

// One run of one subgraph, real or simulated.
struct Event {
  uint32_t chunk, layer;
  TaskKind kind;
  Processor processor;
  double begin, end;  // seconds since the prefill began
};

struct Timeline {
  std::string title;     // "SmolLM2-135M, 1,024 tokens, chunk 256, out-of-order, cpu"
  std::string npu, cpu;  // the processors' names
  std::vector<Event> events;

  double makespan() const;
  double busy(Processor processor) const;
  // Share of the time between the processor's first begin and the makespan that it stood idle.
  double bubble(Processor processor) const;
  // Mean over the chunks: share of a chunk's time from its first begin to its last end in which none of its
  // tasks runs.
  double waiting() const;
};

// Chrome's trace event format (also Perfetto's), one JSON object.
std::string chrome_trace(const Timeline& timeline);
// One self-contained HTML page: a Gantt picture, a row a processor, coloured by chunk, bubble rates beside
// it.
std::string gantt_html(const Timeline& timeline);
// Several runs below one another on the same scale.
std::string gantt_html(std::span<const Timeline> timelines);
// The same as a still picture (SVG, no script): the events between `from` and `to` seconds.
std::string gantt_svg(std::span<const Timeline> timelines, double from, double to);

}  // namespace cairn::offload
