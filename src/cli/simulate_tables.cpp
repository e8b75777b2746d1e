#include "cli/simulate_tables.hpp"

#include <fmt/format.h>

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kK70 = "snapdragon-8gen3";
constexpr const char* kK60 = "snapdragon-8gen2";

// What a table is about unless flags say otherwise.
measure::TableOptions with_defaults(const SimulateTables& options, std::vector<std::string> phones,
                                    std::vector<std::string> models, std::vector<uint32_t> prompts) {
  measure::TableOptions table = options.table;
  if (table.phones.empty()) table.phones = std::move(phones);
  if (table.models.empty()) table.models = std::move(models);
  if (table.prompts.empty()) table.prompts = std::move(prompts);
  return table;
}

std::vector<std::string> paper_models() {
  return {measure::kPaperModels.begin(), measure::kPaperModels.end()};
}

std::string number(double value, int digits) {
  return value == 0 ? "–" : fmt::format("{:.{}f}", value, digits);
}

std::string ratio(double simulated, double published) {
  return published == 0 ? "–" : fmt::format("{:.2f}", simulated / published);
}

Json or_null(double value) {
  return value == 0 ? Json() : Json(value);
}

Json range(const measure::Range& published) {
  return published.most == 0 ? Json() : Json{published.least, published.most};
}

void print_agreement(const char* what, const measure::Agreement& agreement) {
  if (agreement.count > 0)
    fmt::print("{}: ratio {:.2f} in the geometric mean of {}, {:.2f} at worst\n", what, agreement.mean,
               agreement.count, agreement.furthest);
}

Json prefill_table(const SimulateTables& options) {
  const auto rows =
      measure::speed_rows(with_defaults(options, {kK70, kK60}, paper_models(), {64, 256, 512, 1024}));
  Json json = Json::array();
  measure::Agreement agreement;
  if (!options.json)
    fmt::print("Prefill, tokens a second\n{:<17} {:<13} {:>6} {:>9} {:>6} {:>6} {:>13}  {}\n", "phone",
               "model", "tokens", "simulated", "paper", "ratio", "by llama.cpp", "paper's figure from");
  for (const auto& row : rows) {
    agreement.add(row.tok_s, row.published);
    json.push_back({{"phone", row.phone},
                    {"model", row.model},
                    {"prompt", row.prompt},
                    {"prefill_tok_s", row.tok_s},
                    {"paper_tok_s", or_null(row.published)},
                    {"paper_source", row.source},
                    {"over_llama_cpp", or_null(row.over_llama_cpp)}});
    if (!options.json)
      fmt::print("{:<17} {:<13} {:>6} {:>9.1f} {:>6} {:>6} {:>13}  {}\n", row.phone, row.model, row.prompt,
                 row.tok_s, number(row.published, 0), ratio(row.tok_s, row.published),
                 number(row.over_llama_cpp, 1), row.source);
  }
  if (!options.json) {
    print_agreement("speed", agreement);
    for (const auto& ranges : measure::published_ranges())
      fmt::print("{}: {:.1f} to {:.1f} times llama.cpp with 1024 tokens in the paper\n", ranges.phone,
                 ranges.speed_1024.least, ranges.speed_1024.most);
  }
  return json;
}

Json stages_table(const SimulateTables& options) {
  const auto rows =
      measure::stage_rows(with_defaults(options, {kK70}, {"qwen1.5-1.8b", "gemma-2b", "llama-2-7b"}, {512}));
  Json json = Json::array();
  if (!options.json)
    fmt::print(
        "llm.npu's techniques one by one\n{:<17} {:<13} {:>6} {:<9} {:<13} {:>7} {:>6} {:>6} | {:>6} {:>6}\n",
        "phone", "model", "tokens", "stage", "policy", "tok/s", "paper", "ratio", "step", "paper");
  for (const auto& row : rows) {
    json.push_back({{"phone", row.phone},
                    {"model", row.model},
                    {"prompt", row.prompt},
                    {"stage", offload::name(row.stage)},
                    {"policy", offload::name(row.policy)},
                    {"prefill_tok_s", row.tok_s},
                    {"paper_tok_s", or_null(row.published)},
                    {"step", or_null(row.step)},
                    {"paper_step", or_null(row.published_step)}});
    if (!options.json)
      fmt::print("{:<17} {:<13} {:>6} {:<9} {:<13} {:>7.1f} {:>6} {:>6} | {:>6} {:>6}\n", row.phone,
                 row.model, row.prompt, offload::name(row.stage), offload::name(row.policy), row.tok_s,
                 number(row.published, 0), ratio(row.tok_s, row.published), number(row.step, 2),
                 number(row.published_step, 2));
  }
  return json;
}

Json tasks_table(const SimulateTables& options) {
  const auto rows = measure::task_rows(with_defaults(options, {kK70}, paper_models(), {}));
  Json json = Json::array();
  measure::Agreement longer, shorter, decode, total;
  if (!options.json)
    fmt::print(
        "End to end, seconds\n{:<15} {:<13} {:>6} {:>6} | {:>7} {:>5} {:>5} | {:>6} {:>5} {:>5} | {:>5} "
        "{:>5} "
        "{:>5}\n",
        "task", "model", "tokens", "output", "prefill", "paper", "ratio", "decode", "paper", "ratio", "total",
        "paper", "ratio");
  for (const auto& row : rows) {
    (row.prompt >= 1024 ? longer : shorter).add(row.prefill, row.published_prefill);
    decode.add(row.decode, row.published_decode);
    total.add(row.total(), row.published_total());
    json.push_back({{"task", row.task},
                    {"model", row.model},
                    {"prompt", row.prompt},
                    {"output", row.output},
                    {"prefill_s", row.prefill},
                    {"paper_prefill_s", or_null(row.published_prefill)},
                    {"decode_s", row.decode},
                    {"paper_decode_s", or_null(row.published_decode)},
                    {"total_s", row.total()},
                    {"paper_total_s", or_null(row.published_total())}});
    if (!options.json)
      fmt::print(
          "{:<15} {:<13} {:>6} {:>6.1f} | {:>7.2f} {:>5} {:>5} | {:>6.2f} {:>5} {:>5} | {:>5.2f} {:>5} "
          "{:>5}\n",
          row.task, row.model, row.prompt, row.output, row.prefill, number(row.published_prefill, 2),
          ratio(row.prefill, row.published_prefill), row.decode, number(row.published_decode, 2),
          ratio(row.decode, row.published_decode), row.total(), number(row.published_total(), 2),
          ratio(row.total(), row.published_total()));
  }
  if (!options.json) {
    print_agreement("prefill of 1024 tokens and more", longer);
    print_agreement("prefill of fewer", shorter);
    print_agreement("decode", decode);
    print_agreement("total", total);
  }
  return json;
}

Json energy_table(const SimulateTables& options) {
  const auto table = with_defaults(options, {kK60}, paper_models(), {64, 256, 1024});
  Json rows = Json::array();
  if (!options.json)
    fmt::print("Energy of a prefill\n{:<17} {:<13} {:>6} {:>7} {:>6} {:>9} {:>14} {:>15}\n", "phone", "model",
               "tokens", "joules", "watts", "J a token", "by llama.cpp's", "paper, 5 models");
  for (const auto& row : measure::energy_rows(table)) {
    rows.push_back({{"phone", row.phone},
                    {"model", row.model},
                    {"prompt", row.prompt},
                    {"joules", row.joules},
                    {"watts", row.watts},
                    {"llama_cpp_over_it", or_null(row.saving)},
                    {"paper_range", range(row.published)}});
    if (!options.json)
      fmt::print("{:<17} {:<13} {:>6} {:>7.2f} {:>6.2f} {:>9.4f} {:>14} {:>15}\n", row.phone, row.model,
                 row.prompt, row.joules, row.watts, row.joules / row.prompt, number(row.saving, 1),
                 row.published.most == 0
                     ? "–"
                     : fmt::format("{:.2f}–{:.2f}", row.published.least, row.published.most));
  }
  const auto merge = measure::merge_shares(with_defaults(options, {kK70}, {"qwen1.5-1.8b"}, {1024}));
  if (!options.json)
    fmt::print(
        "merging the shadow results of all inputs: {:.1f} % of the latency (paper {:.1f}), {:.1f} % of the "
        "energy (paper {:.1f})\n",
        100 * merge.latency, 100 * measure::kMergeLatency, 100 * merge.energy, 100 * measure::kMergeEnergy);
  return {{"rows", rows},
          {"merge",
           {{"latency", merge.latency},
            {"paper_latency", measure::kMergeLatency},
            {"energy", merge.energy},
            {"paper_energy", measure::kMergeEnergy}}}};
}

Json schedule_table(const SimulateTables& options) {
  const auto rows = measure::schedule_rows(with_defaults(options, {kK70}, {"qwen1.5-1.8b"}, {512, 1024}));
  Json json = Json::array();
  if (!options.json)
    fmt::print("Order of subgraphs\n{:<17} {:<13} {:>6} {:<13} {:>8} {:>9} {:>6} {:>15}\n", "phone", "model",
               "tokens", "policy", "tok/s", "NPU idle", "paper", "chunks waiting");
  for (const auto& row : rows) {
    const double paper = row.policy == offload::Policy::pairs          ? measure::kNaiveBubble
                         : row.policy == offload::Policy::out_of_order ? measure::kOutOfOrderBubble
                                                                       : 0;
    json.push_back({{"phone", row.phone},
                    {"model", row.model},
                    {"prompt", row.prompt},
                    {"policy", offload::name(row.policy)},
                    {"prefill_tok_s", row.tok_s},
                    {"npu_bubble", row.npu_idle},
                    {"paper_npu_bubble", or_null(paper)},
                    {"chunks_waiting", row.waiting}});
    if (!options.json)
      fmt::print("{:<17} {:<13} {:>6} {:<13} {:>8.1f} {:>7.1f} % {:>6} {:>13.1f} %\n", row.phone, row.model,
                 row.prompt, offload::name(row.policy), row.tok_s, 100 * row.npu_idle, number(100 * paper, 1),
                 100 * row.waiting);
  }
  return json;
}

Json crossings(const offload::Crossings& c) {
  return {{"graphs", c.graphs}, {"bytes_in", c.in}, {"bytes_out", c.out}};
}

Json forms_table(const SimulateTables& options) {
  const auto rows = measure::form_rows(with_defaults(options, {kK70}, {"qwen1.5-1.8b"}, {512, 1024}));
  Json json = Json::array();
  if (!options.json)
    fmt::print(
        "What the device's graphs hold\n{:<17} {:<13} {:>6} {:<11} | {:>6} {:>6} {:>6} | {:>6} {:>8} {:>8} | "
        "{:>7} {:>9} {:>9} {:>6}\n",
        "phone", "model", "tokens", "form", "graphs", "MB in", "out", "graphs", "MB in", "out", "tok/s",
        "NPU idle", "CPU busy", "J");
  for (const auto& row : rows) {
    json.push_back({{"phone", row.phone},
                    {"model", row.model},
                    {"prompt", row.prompt},
                    {"form", offload::name(row.form)},
                    {"last_chunk_a_layer", crossings(row.a_layer)},
                    {"all", crossings(row.all)},
                    {"prefill_tok_s", row.tok_s},
                    {"npu_bubble", row.npu_idle},
                    {"cpu_busy", row.cpu_busy},
                    {"joules", row.joules}});
    if (!options.json)
      fmt::print(
          "{:<17} {:<13} {:>6} {:<11} | {:>6} {:>6.2f} {:>6.2f} | {:>6} {:>8.1f} {:>8.1f} | {:>7.1f} "
          "{:>7.1f} % "
          "{:>7.1f} % {:>6.2f}\n",
          row.phone, row.model, row.prompt, offload::name(row.form), row.a_layer.graphs,
          1e-6 * static_cast<double>(row.a_layer.in), 1e-6 * static_cast<double>(row.a_layer.out),
          row.all.graphs, 1e-6 * static_cast<double>(row.all.in), 1e-6 * static_cast<double>(row.all.out),
          row.tok_s, 100 * row.npu_idle, 100 * row.cpu_busy, row.joules);
  }
  if (!options.json) fmt::print("left: one chunk, the last, in one layer; then: the whole prompt\n");
  return json;
}

Json constants_table(const SimulateTables& options) {
  Json json = Json::array();
  for (const std::string& name : with_defaults(options, {kK70, kK60}, {}, {}).phones) {
    const auto& phone = measure::phone_named(name);
    if (!options.json) fmt::print("{}: {}, {}\n", phone.name, phone.npu, phone.cpu);
    for (const auto& constant : offload::simulated::constants(phone)) {
      json.push_back({{"phone", phone.name},
                      {"name", constant.name},
                      {"value", constant.value},
                      {"unit", constant.unit},
                      {"origin", offload::simulated::name(constant.origin)},
                      {"source", constant.source}});
      if (!options.json)
        fmt::print("  {:<20} {:>9.4g} {:<8} {:<8}  {}\n", constant.name, constant.value, constant.unit,
                   offload::simulated::name(constant.origin), constant.source);
    }
  }
  return json;
}

}  // namespace

nlohmann::ordered_json simulate_table(const std::string& table, const SimulateTables& options) {
  if (table == "prefill") return prefill_table(options);
  if (table == "stages") return stages_table(options);
  if (table == "tasks") return tasks_table(options);
  if (table == "energy") return energy_table(options);
  if (table == "schedule") return schedule_table(options);
  if (table == "forms") return forms_table(options);
  return constants_table(options);
}

}  // namespace cairn::cli
