#include "encode/mix.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>

namespace cairn::encode {
namespace {

using enum Encoding;

// What a tensor does, as far as mixes care.
enum class Part : uint8_t { output, embedding, value, key, query, attention_output, up, gate, down, other };

// A tensor's name is of the first part whose word it holds; whole names first.
constexpr std::pair<std::string_view, Part> kParts[] = {
    {"attn_qkv.weight", Part::value},  // values among them
    {"attn_kv_b.weight", Part::value},
    {"attn_v.weight", Part::value},
    {"attn_k.weight", Part::key},
    {"attn_q.weight", Part::query},
    {"attn_output.weight", Part::attention_output},
    {"ffn_up", Part::up},
    {"ffn_gate", Part::gate},
    {"ffn_down", Part::down},
};

// Matrices that stay as they are: small, or not multiplied by activations.
constexpr std::string_view kKept[] = {
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
};

bool holds(std::string_view name, std::string_view word) {
  return name.find(word) != std::string_view::npos;
}

bool is_kept(const gguf::Tensor& tensor) {
  if (tensor.shape.size() < 2 || !tensor.name.ends_with("weight")) return true;
  if (tensor.name == "position_embd.weight" || tensor.name == "token_types.weight") return true;
  return std::any_of(std::begin(kKept), std::end(kKept),
                     [&](std::string_view word) { return holds(tensor.name, word); });
}

Part part_of(std::string_view name) {
  if (name == "output.weight") return Part::output;
  if (name == "token_embd.weight" || name == "per_layer_token_embd.weight") return Part::embedding;
  for (const auto& [word, part] : kParts)
    if (holds(name, word)) return part;
  return Part::other;
}

// "blk.12.…" → 12; −1 for what is in no layer.
int layer_of(std::string_view name) {
  int layer = -1;
  if (name.starts_with("blk.")) std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  return layer;
}

constexpr uint64_t kMostLayers = 1 << 20;  // a file may claim more: what is seven times as large fits an int

// What rules look at.
struct Place {
  int index = 0,
      count = 0;  // which of the model's tensors of this part, in the order of layers, and of how many
  bool falcon = false, importance = false, shared = false;  // shared: at least 4 heads share keys and values
  bool large = false;                                       // 80 layers with shared keys and values
  uint64_t experts = 0;

  bool first(int share) const { return index < count / share; }
  // The first and last eighth, and each third between: where errors cost most.
  bool sensitive() const { return first(8) || index >= 7 * count / 8 || (index - count / 8) % 3 == 2; }
};

struct Rule {
  Part part;
  std::initializer_list<std::string_view> types;
  bool (*holds)(const Place&);
  Encoding encoding;
};

constexpr auto kAlways = [](const Place&) { return true; };
constexpr auto kShared = [](const Place& p) { return p.shared; };
constexpr auto kSensitive = [](const Place& p) { return p.sensitive(); };
constexpr auto kFirstEighth = [](const Place& p) { return p.first(8); };
constexpr auto kFalcon = [](const Place& p) { return p.falcon; };
constexpr auto kLarge = [](const Place& p) { return p.large; };
constexpr auto kUnimportant = [](const Place& p) { return !p.importance; };
constexpr auto kInner = [](const Place& p) { return p.index >= p.count / 8 && p.index < 7 * p.count / 8; };
constexpr auto kOrdinary = [](const Place& p) { return !p.falcon && p.experts != 8; };
constexpr auto kEightExperts = [](const Place& p) { return p.experts == 8; };

// The first rule that holds counts; where none does, the type's own encoding.
const Rule kRules[] = {
    // The smallest have rules of their own.
    {Part::value,
     {"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m"},
     [](const Place& p) { return p.shared || p.experts >= 4; },
     q4_k},
    {Part::value, {"iq2_s", "iq2_m"}, kAlways, iq3_s},
    {Part::value, {"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs"}, kAlways, q2_k},
    {Part::key, {"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m"}, kEightExperts, q4_k},
    {Part::down, {"iq2_s", "iq2_m"}, kFirstEighth, iq3_s},
    {Part::down, {"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs"}, kFirstEighth, q2_k},
    {Part::attention_output, {"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m"}, kEightExperts, q5_k},
    {Part::attention_output, {"iq1_s", "iq1_m"}, kAlways, iq2_xxs},
    {Part::attention_output, {"iq2_s", "iq2_m"}, kAlways, iq3_s},
    // The embedding, where it is not the output as well.
    {Part::embedding, {"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs"}, kAlways, q2_k},
    {Part::embedding, {"iq2_s", "iq2_m", "iq3_xxs"}, kAlways, iq3_s},
    {Part::embedding, {"tq1_0", "tq2_0"}, kAlways, q4_k},
    {Part::value, {}, kEightExperts, q8_0},
    {Part::value, {"q3_k_m"}, [](const Place& p) { return p.index < 2; }, q5_k},
    {Part::value, {"q3_k_m", "q2_k", "q2_k_s", "q3_k_s", "q4_k_s"}, kLarge, q5_k},
    {Part::value, {"q4_k_m"}, [](const Place& p) { return p.large && !p.sensitive(); }, q5_k},
    {Part::value, {"iq3_m"}, kLarge, q5_k},
    {Part::value, {"iq3_xxs", "iq3_xs", "iq3_s"}, [](const Place& p) { return p.large && p.shared; }, q5_k},
    {Part::value, {"iq3_m"}, kAlways, q4_k},
    {Part::value, {"iq3_xxs", "iq3_xs", "iq3_s"}, kShared, q4_k},
    {Part::value, {"iq3_xxs"}, kUnimportant, iq3_s},
    {Part::value, {"q2_k", "q2_k_s"}, kShared, q4_k},
    {Part::value, {"q2_k"}, kAlways, q3_k},
    {Part::value, {"q3_k_m"}, kAlways, q4_k},
    {Part::value, {"q3_k_l"}, kAlways, q5_k},
    {Part::value, {"iq4_nl", "iq4_xs"}, kShared, q5_k},
    {Part::value, {"q4_k_m", "q5_k_m"}, kSensitive, q6_k},
    {Part::value, {"q4_k_s"}, [](const Place& p) { return p.index < 4; }, q5_k},
    {Part::key, {}, kEightExperts, q8_0},
    {Part::key, {"iq3_xs"}, kAlways, iq3_xxs},
    {Part::key, {"iq3_xxs"}, kAlways, iq2_s},
    {Part::query, {"iq3_xs"}, kAlways, iq3_xxs},
    {Part::query, {"iq3_xxs"}, kAlways, iq2_s},
    {Part::gate, {"iq3_xs"}, kInner, iq3_xxs},
    {Part::up, {"iq3_xs"}, kInner, iq3_xxs},
    {Part::down, {"iq3_xxs"}, [](const Place& p) { return !p.importance && p.first(8); }, q4_k},
    {Part::down, {"iq3_xxs"}, kUnimportant, q3_k},
    {Part::down,
     {"iq3_m"},
     [](const Place& p) { return p.first(8) || (p.experts == 8 && p.sensitive()); },
     q4_k},
    {Part::down, {"q2_k"}, kAlways, q3_k},
    {Part::down, {"q2_k_s"}, kFirstEighth, q4_k},
    {Part::down, {"q3_k_m"}, [](const Place& p) { return p.first(16); }, q5_k},
    {Part::down, {"q3_k_m"}, [](const Place& p) { return !p.falcon || p.sensitive(); }, q4_k},
    {Part::down, {"q3_k_l"}, kFalcon, q4_k},
    {Part::down, {"q3_k_l"}, kAlways, q5_k},
    {Part::down, {"q4_k_m"}, [](const Place& p) { return p.falcon && p.first(16); }, q6_k},
    {Part::down, {"q4_k_m"}, [](const Place& p) { return p.falcon && p.sensitive(); }, q5_k},
    {Part::down, {"q4_k_m"}, [](const Place& p) { return !p.falcon && p.sensitive(); }, q6_k},
    {Part::down, {"q5_k_m"}, kSensitive, q6_k},
    {Part::down, {"q4_k_s"}, [](const Place& p) { return !p.falcon && p.first(8); }, q5_k},
    {Part::down, {"iq4_nl", "iq4_xs"}, [](const Place& p) { return !p.importance && p.first(8); }, q5_k},
    {Part::down, {"q4_0"}, [](const Place& p) { return p.importance && p.first(8); }, q4_1},
    {Part::down, {"q5_0"}, [](const Place& p) { return p.importance && p.first(8); }, q5_1},
    {Part::attention_output,
     {"q2_k", "q3_k_s", "q3_k_m", "iq4_nl", "q4_k_s", "q4_k_m", "iq4_xs", "iq3_xxs", "iq3_xs", "iq3_s",
      "iq3_m"},
     [](const Place& p) { return !p.falcon && p.experts == 8; },
     q5_k},
    {Part::attention_output, {"q3_k_l"}, kFalcon, q4_k},
    {Part::attention_output, {"q2_k"}, kOrdinary, q3_k},
    {Part::attention_output, {"iq3_xxs"}, kOrdinary, iq3_s},
    {Part::attention_output, {"q3_k_m", "iq3_m"}, kOrdinary, q4_k},
    {Part::attention_output, {"q3_k_l"}, kOrdinary, q5_k},
};

// Those whose rules come first, and count differently.
bool is_smallest(const FileType& type) {
  constexpr std::string_view kNames[] = {"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m"};
  return std::find(std::begin(kNames), std::end(kNames), type.name) != std::end(kNames);
}

bool fits(const gguf::Tensor& tensor, Encoding encoding) {
  return tensor.row_elements() % info(encoding).block_elements == 0;
}

Encoding by_rules(const gguf::Tensor& tensor, Part part, const FileType& type, const Place& place,
                  bool tied) {
  const bool experts = type.name == "mxfp4_moe";
  if (part == Part::output || (part == Part::embedding && tied)) {
    if (type.encoding == mxfp4 || place.falcon || !fits(tensor, type.encoding)) return q8_0;
    if (type.encoding == q8_0) return q8_0;
    return is_smallest(type) || type.name == "iq3_xxs" ? q5_k : q6_k;
  }
  if (experts) return tensor.shape.size() > 2 && tensor.shape[2] > 1 ? mxfp4 : q8_0;
  for (const Rule& rule : kRules) {
    const bool of_type = rule.types.size() == 0 ||
                         std::find(rule.types.begin(), rule.types.end(), type.name) != rule.types.end();
    if (rule.part == part && of_type && rule.holds(place)) return rule.encoding;
  }
  return type.encoding;
}

Encoding fallback(const gguf::Tensor& tensor, Encoding wanted) {
  if (fits(tensor, wanted)) return wanted;
  const auto one_of = [&](std::initializer_list<Encoding> some) {
    return std::find(some.begin(), some.end(), wanted) != some.end();
  };
  const Encoding smaller = one_of({iq1_s, iq1_m, iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s, iq4_xs}) ? iq4_nl
                           : one_of({q2_k, q3_k, tq1_0, tq2_0})                                   ? q4_0
                           : wanted == q4_k                                                       ? q5_0
                           : wanted == q5_k                                                       ? q5_1
                           : wanted == q6_k                                                       ? q8_0
                                                                                                  : wanted;
  return fits(tensor, smaller) ? smaller : f16;
}

// A number of the architecture, or of its first layer where it has one for each.
uint64_t parameter(const gguf::File& file, std::string_view architecture, std::string_view name,
                   uint64_t otherwise) {
  const std::string key = std::string(architecture) + "." + std::string(name);
  const gguf::Value* value = file.find(key);
  if (value == nullptr) return otherwise;
  if (std::holds_alternative<uint64_t>(*value) || std::holds_alternative<int64_t>(*value))
    return file.integer(key);
  const std::vector<int64_t> each = file.integers(key);
  return each.empty() || each.front() < 0 ? otherwise : static_cast<uint64_t>(each.front());
}

bool needs(const gguf::Tensor& tensor, Encoding encoding, const FileType& type) {
  if (tensor.name == "token_embd.weight" || tensor.name == "output.weight") return false;
  switch (encoding) {
    case iq1_s:
    case iq1_m:
    case iq2_xxs:
    case iq2_xs:
    case iq2_s:
    case iq3_xxs:
      return true;
    default:
      return encoding == q2_k && type.name == "q2_k_s";
  }
}

}  // namespace

std::vector<Choice> choose_encodings(const gguf::File& file, const FileType& type, bool importance,
                                     bool pure) {
  const std::vector<gguf::Tensor>& tensors = file.tensors();
  const std::string_view architecture = file.text("general.architecture", "");
  const uint64_t layers = parameter(file, architecture, "block_count", 0),
                 heads = parameter(file, architecture, "attention.head_count", 0),
                 shared = parameter(file, architecture, "attention.head_count_kv", heads);
  Place place;
  place.falcon = architecture == "falcon";
  place.importance = importance;
  place.shared = shared > 0 && heads / shared >= 4;
  place.large = layers == 80 && (architecture == "llama" ? heads != shared : architecture == "qwen2");
  place.experts = parameter(file, architecture, "expert_count", 0);
  const bool tied = file.find_tensor("output.weight") == nullptr,
             floats = info(type.encoding).block_elements == 1;
  int values = 0;
  for (const gguf::Tensor& tensor : tensors) values += part_of(tensor.name) == Part::value ? 1 : 0;

  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(layer_of(tensors[a].name), tensors[a].name) <
           std::pair(layer_of(tensors[b].name), tensors[b].name);
  });
  std::vector<Choice> choices(tensors.size(), Choice{f32});
  int seen_values = 0, seen_down = 0;
  for (const size_t i : order) {
    const gguf::Tensor& tensor = tensors[i];
    const Part part = part_of(tensor.name);
    if (is_kept(tensor)) {
      choices[i] = {tensor.encoding, std::nullopt, true, false};
      continue;
    }
    place.count = part == Part::value ? values : static_cast<int>(std::min(layers, kMostLayers));
    place.index = part == Part::value                                               ? seen_values
                  : part == Part::down && (place.experts <= 1 || is_smallest(type)) ? seen_down
                                                                                    : layer_of(tensor.name);
    const Encoding wanted = floats || pure ? type.encoding : by_rules(tensor, part, type, place, tied);
    const Encoding encoding = fallback(tensor, wanted);
    choices[i] = {encoding, encoding == wanted ? std::nullopt : std::optional(wanted), false,
                  needs(tensor, encoding, type)};
    seen_values += part == Part::value ? 1 : 0;
    seen_down += part == Part::down ? 1 : 0;
  }
  return choices;
}

}  // namespace cairn::encode
