#include "graph/describe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

using Json = nlohmann::ordered_json;

const char* name(Activation activation) {
  switch (activation) {
    case Activation::none:
      return "none";
    case Activation::silu:
      return "silu";
    case Activation::gelu_tanh:
      return "gelu_tanh";
    case Activation::gelu_erf:
      return "gelu_erf";
    case Activation::silu_clamped:
      return "silu_clamped";
    case Activation::sigmoid:
      return "sigmoid";
    case Activation::relu_squared:
      return "relu_squared";
  }
  return "unknown";
}

// The shortest number that reads back as this float: 1e-06, not 9.999999974752427e-07.
double shortest(float value) {
  return std::stod(fmt::format("{}", value));
}

Json to_json(const Rope& rope) {
  Json json{{"dims", rope.dims}, {"neox", rope.neox}, {"base", shortest(rope.base)}};
  if (rope.frequency_scale != 1) json["frequency_scale"] = shortest(rope.frequency_scale);
  if (!rope.factors.empty()) json["factors"] = rope.factors;
  if (rope.attention_factor != 1) json["attention_factor"] = shortest(rope.attention_factor);
  if (rope.yarn != 0) {
    json["yarn"] = shortest(rope.yarn);
    json["ramp_begin"] = shortest(rope.ramp_begin);
    json["ramp_end"] = shortest(rope.ramp_end);
  }
  if (!rope.long_factors.empty()) {
    json["long_factors"] = rope.long_factors;
    json["original_context"] = rope.original_context;
  }
  if (rope.temperature != 0) {
    json["temperature"] = shortest(rope.temperature);
    json["temperature_length"] = rope.temperature_length;
  }
  return json;
}

Json to_json(const Op& op) {
  static const Op kDefault{};
  Json json{{"kind", graph::name(op.kind)}};
  const auto slot = [&](const char* key, Slot s) {
    if (s != Slot::none) json[key] = graph::name(s);
  };
  const auto field = [&](const char* key, const auto& value, const auto& otherwise) {
    if (value == otherwise) return;
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, float>)
      json[key] = shortest(value);
    else
      json[key] = value;
  };
  slot("input", op.input);
  slot("input2", op.input2);
  slot("output", op.output);
  field("weight", op.weight, kDefault.weight);
  field("bias", op.bias, kDefault.bias);
  field("skip", op.skip, kDefault.skip);
  field("row_begin", op.row_begin, kDefault.row_begin);
  field("rows", op.rows, kDefault.rows);
  field("epsilon", op.epsilon, kDefault.epsilon);
  field("factor", op.factor, kDefault.factor);
  field("softcap", op.softcap, kDefault.softcap);
  field("window", op.window, kDefault.window);
  if (!op.causal) json["both_ways"] = true;
  field("heads", op.heads, kDefault.heads);
  field("own", op.own, kDefault.own);
  field("key_heads", op.key_heads, kDefault.key_heads);
  field("block", op.block, kDefault.block);
  field("state", op.state, kDefault.state);
  field("width", op.width, kDefault.width);
  field("offset", op.offset, kDefault.offset);
  field("head_size", op.head_size, kDefault.head_size);
  field("kv_heads", op.kv_heads, kDefault.kv_heads);
  field("shared", op.shared, kDefault.shared);
  field("latent", op.latent, kDefault.latent);
  field("experts", op.experts, kDefault.experts);
  field("used", op.used, kDefault.used);
  field("normalise", op.normalise, kDefault.normalise);
  field("groups", op.groups, kDefault.groups);
  field("groups_used", op.groups_used, kDefault.groups_used);
  field("all_rows", op.all_rows, kDefault.all_rows);
  if (op.activation != Activation::none) json["activation"] = name(op.activation);
  if (op.kind == OpKind::rope) json["rope"] = to_json(op.rope);
  return json;
}

Json to_json(const OpList& ops) {
  Json list = Json::array();
  for (const Op& op : ops) list.push_back(to_json(op));
  return list;
}

// "linear      normed → query  weight blk.0.attn_q.weight, rows 576": what the JSON says, on one line.
std::string describe(const Op& op) {
  std::string slots = op.input == Slot::none ? "" : graph::name(op.input);
  if (op.input2 != Slot::none) slots += fmt::format(", {}", graph::name(op.input2));
  if (op.output != Slot::none) slots += fmt::format(" → {}", graph::name(op.output));
  std::vector<std::string> fields;
  const auto add = [&](const std::string& key, const Json& value) {
    if (value.is_boolean()) {
      if (value.get<bool>()) fields.push_back(key);
    } else if (value.is_string()) {
      fields.push_back(key == "weight" || key == "bias" ? value.get<std::string>()
                                                        : key + " " + value.get<std::string>());
    } else if (value.is_number_float()) {
      fields.push_back(fmt::format("{} {:.6g}", key, value.get<double>()));
    } else {
      fields.push_back(fmt::format("{} {}", key, value.dump()));
    }
  };
  const Json json = to_json(op);
  for (const auto& [key, value] : json.items()) {
    if (key == "kind" || key == "input" || key == "input2" || key == "output") continue;
    if (value.is_object()) {
      for (const auto& [inner, inner_value] : value.items()) add(inner, inner_value);
    } else {
      add(key, value);
    }
  }
  std::string line =
      fmt::format("    {:<14} {:<24} {}", graph::name(op.kind), slots, fmt::join(fields, ", "));
  line.resize(line.find_last_not_of(' ') + 1);
  return line + '\n';
}

std::string describe(const OpList& ops) {
  std::string out;
  for (const Op& op : ops) out += describe(op);
  return out;
}

void replace_all(std::string& text, const std::string& what, const std::string& with) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
}

// The layer's lists with its own number and the last layer's (whose branch it may norm) replaced, so that
// equal layers read equal.
std::string describe(const Layer& layer, uint32_t number) {
  std::string out;
  for (size_t kind = 0; kind < layer.size(); ++kind) {
    out += fmt::format("  {}\n", graph::name(static_cast<SubgraphKind>(kind)));
    out += describe(layer[kind]);
  }
  replace_all(out, layer_tensor(number, ""), "blk.N.");
  if (number > 0) replace_all(out, layer_tensor(number - 1, ""), "blk.N-1.");
  return out;
}

// "0–4, 6": ascending numbers as ranges.
std::string ranges(const std::vector<size_t>& numbers) {
  std::string out;
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    out += out.empty() ? "" : ", ";
    out += last == i ? fmt::format("{}", numbers[i]) : fmt::format("{}–{}", numbers[i], numbers[last]);
    i = last + 1;
  }
  return out;
}

}  // namespace

std::string describe(const Model& model) {
  std::vector<std::pair<std::string, std::vector<size_t>>> distinct;
  for (size_t i = 0; i < model.layers.size(); ++i) {
    std::string text = describe(model.layers[i], static_cast<uint32_t>(i));
    const auto same =
        std::find_if(distinct.begin(), distinct.end(), [&](const auto& d) { return d.first == text; });
    if (same == distinct.end())
      distinct.emplace_back(std::move(text), std::vector<size_t>{i});
    else
      same->second.push_back(i);
  }
  std::string out = "graph\n  embed\n" + describe(model.embed);
  for (const auto& [text, layers] : distinct)
    out += fmt::format("\nlayer{} {}\n{}", layers.size() == 1 ? "" : "s", ranges(layers), text);
  out += "\n  head\n" + describe(model.head);
  if (model.draft.empty()) return out;
  out += "\ndraft\n";
  for (const OpList* ops : {&model.draft.embed, &model.draft.keys, &model.draft.rest, &model.draft.head})
    out += describe(*ops);
  return out;
}

Json to_json(const Model& model) {
  const HyperParameters& p = model.parameters;
  Json json{{"parameters",
             {{"architecture", p.architecture},
              {"layers", p.layers},
              {"embedding", p.embedding},
              {"ffn", p.ffn},
              {"vocabulary", p.vocabulary},
              {"context", p.context},
              {"heads", p.heads},
              {"kv_heads", p.kv_heads},
              {"head_size", p.head_size},
              {"window", p.window},
              {"tied_output", p.tied_output}}}};
  if (p.experts != 0) {
    json["parameters"]["experts"] = p.experts;
    json["parameters"]["experts_used"] = p.experts_used;
    json["parameters"]["expert_ffn"] = p.expert_ffn;
  }
  if (has_state(model)) {
    json["parameters"]["conv_window"] = p.conv_window;
    json["parameters"]["conv_channels"] = p.conv_channels;
  }
  if (p.delta_heads != 0) {
    json["parameters"]["delta_heads"] = p.delta_heads;
    json["parameters"]["delta_key_heads"] = p.delta_key_heads;
    json["parameters"]["delta_size"] = p.delta_size;
    if (p.scan_state != 0) json["parameters"]["scan_state"] = p.scan_state;
  }
  json["embed"] = to_json(model.embed);
  Json& layers = json["layers"] = Json::array();
  for (const Layer& layer : model.layers) {
    Json subgraphs;
    for (size_t kind = 0; kind < layer.size(); ++kind)
      subgraphs[graph::name(static_cast<SubgraphKind>(kind))] = to_json(layer[kind]);
    layers.push_back(std::move(subgraphs));
  }
  json["head"] = to_json(model.head);
  if (!model.draft.empty()) {
    json["draft"] = {{"embed", to_json(model.draft.embed)},
                     {"keys", to_json(model.draft.keys)},
                     {"rest", to_json(model.draft.rest)},
                     {"head", to_json(model.draft.head)}};
  }
  return json;
}

}  // namespace cairn::graph
