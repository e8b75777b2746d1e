#include "offload/timeline.hpp"

namespace cairn::offload {

const char* name(Processor processor) {
  return processor == Processor::npu ? "NPU" : "CPU";
}

const char* name(TaskKind kind) {
  switch (kind) {
    case TaskKind::attention_input:
      return "attention input";
    case TaskKind::qkv:
      return "qkv";
    case TaskKind::attention:
      return "attention";
    case TaskKind::attention_output:
      return "attention output";
    case TaskKind::ffn_input:
      return "ffn input";
    case TaskKind::ffn:
      return "ffn";
    case TaskKind::ffn_middle:
      return "ffn middle";
    case TaskKind::ffn_down:
      return "ffn down";
    case TaskKind::shadow_qkv:
      return "shadow qkv";
    case TaskKind::shadow_attention_output:
      return "shadow attention output";
    case TaskKind::shadow_gate_up:
      return "shadow gate, up";
    case TaskKind::shadow_down:
      return "shadow down";
    case TaskKind::prepare:
      return "prepare";
    case TaskKind::layer:
      return "layer";
    case TaskKind::count:
      break;
  }
  return "";
}

}  // namespace cairn::offload
