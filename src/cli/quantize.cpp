#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.hpp"
#include "base/log.hpp"
#include "cli/checkpoint_source.hpp"
#include "cli/commands.hpp"
#include "cli/output_flags.hpp"
#include "cli/parser/values.hpp"
#include "cli/session_flags.hpp"
#include "cli/stages.hpp"
#include "cli/standard_io.hpp"
#include "encode/encode.hpp"
#include "measure/importance.hpp"

namespace cairn::cli {
namespace {

struct Flags {
  std::string model, type, output, text, imatrix, save_imatrix;
  measure::ImportanceOptions importance;
  OutputFlags files;
  bool pure = false, json = false;
};

std::string_view name(Encoding encoding) {
  return info(encoding).name;
}

// What a user should know before minutes go by.
void tell(const encode::EncodeReport& plan) {
  if (plan.requantized > 0)
    log_line(
        LogLevel::info,
        fmt::format("{} of {} tensors are quantised already: from the original in f16 or bf16 the result "
                    "would be better",
                    plan.requantized, plan.tensors));
  std::map<std::tuple<uint64_t, Encoding, Encoding>, uint64_t> alike;
  for (const auto& fallback : plan.fallbacks) ++alike[{fallback.width, fallback.wanted, fallback.taken}];
  for (const auto& [what, count] : alike) {
    const auto& [width, wanted, taken] = what;
    log_line(LogLevel::info,
             fmt::format("{} tensors are {} wide, no multiple of {}: {} in place of {}", count, width,
                         info(wanted).block_elements, name(taken), name(wanted)));
  }
  if (!plan.unimportant.empty())
    log_line(LogLevel::info,
             fmt::format("{} tensors have no importance, {} among them: their columns count alike",
                         plan.unimportant.size(), plan.unimportant.front()));
}

nlohmann::ordered_json report(const Flags& flags, const encode::EncodeReport& report) {
  nlohmann::ordered_json encodings = nlohmann::ordered_json::object(),
                         fallbacks = nlohmann::ordered_json::array();
  for (const auto& [encoding, count] : report.encodings) encodings[std::string(name(encoding))] = count;
  for (const auto& f : report.fallbacks)
    fallbacks.push_back(
        {{"tensor", f.tensor}, {"width", f.width}, {"wanted", name(f.wanted)}, {"taken", name(f.taken)}});
  return {{"output", flags.output},
          {"type", encode::parse_file_type(flags.type).name},
          {"tensors", report.tensors},
          {"encodings", encodings},
          {"parameters", report.parameters},
          {"bytes", report.bytes},
          {"bits", 8.0 * static_cast<double>(report.bytes) / static_cast<double>(report.parameters)},
          {"source_bytes", report.source_bytes},
          {"requantized", report.requantized},
          {"fallbacks", fallbacks},
          {"without_importance", report.unimportant}};
}

void run(const Flags& flags) {
  const encode::FileType& type = encode::parse_file_type(flags.type);
  flags.files.check({flags.output, flags.save_imatrix},
                    source_inputs(flags.model, {flags.text, flags.imatrix}));
  // Mistakes are told before a checkpoint is fetched and converted.
  std::optional<encode::Importance> importance;
  if (!flags.imatrix.empty()) importance = encode::read_importance(flags.imatrix);
  const std::string text = flags.text.empty() ? std::string() : read_text(flags.text);
  Stages stages("quantize");
  encode::EncodeOptions options;
  options.type = &type;
  options.pure = flags.pure;
  const gguf::File file = open_source(flags.model, flags.output);
  options.importance_follows = !flags.text.empty() || !flags.imatrix.empty();
  encode::plan(file, options);  // complains before text is read for minutes
  options.importance_follows = false;
  if (!flags.text.empty()) {
    importance = measure::measure_importance(
        *llm::Model::load(file), text, flags.importance,
        [&](uint64_t done, uint64_t total) { stages.update("importance", done, total); });
    if (flags.text != "-") importance->dataset = std::filesystem::path(flags.text).filename().string();
    if (!flags.save_imatrix.empty()) encode::write_importance(*importance, flags.save_imatrix);
  }
  if (importance) options.importance = &*importance;
  tell(encode::plan(file, options));
  const uint32_t threads = flags.importance.threads;
  ThreadPool pool(threads == 0 ? usable_processors() : threads, ThreadPool::Idle::sleep);
  const encode::EncodeReport done =
      encode::encode(file, options, flags.output, pool,
                     [&](uint64_t weights, uint64_t all) { stages.update("weights", weights, all); });
  if (flags.json)
    return write_out(
        report(flags, done).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  std::string encodings;
  for (const auto& [encoding, count] : done.encodings)
    encodings += fmt::format("{}{} {}", encodings.empty() ? "" : ", ", count, name(encoding));
  write_out(fmt::format("{}: {:.1f} MB, {:.2f} bits a weight, before {:.1f} MB; {} tensors: {}\n",
                        flags.output, static_cast<double>(done.bytes) / 1e6,
                        8 * static_cast<double>(done.bytes) / static_cast<double>(done.parameters),
                        static_cast<double>(done.source_bytes) / 1e6, done.tensors, encodings));
}

std::string type_names() {
  std::string names;
  for (const encode::FileType& type : encode::file_types())
    names += fmt::format("{}{}", names.empty() ? "" : ", ", type.name);
  return names;
}

}  // namespace

void add_quantize(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("quantize", "write a model in another, mostly smaller encoding");
  add_source(*command, flags->model);
  command->add_option("--type", flags->type, "what to write, by llama.cpp's names: " + type_names())
      ->required()
      ->type_name("TYPE");
  command->add_option("-o,--output", flags->output, "the file to write")->required()->type_name("FILE");
  add_output_flags(*command, flags->files);
  CLI::Option* text =
      command
          ->add_option(
              "--text", flags->text,
              "text like what the model will read, to measure which columns matter; - is standard input")
          ->type_name("FILE");
  command->add_option("--imatrix", flags->imatrix, "which columns matter, from llama.cpp or --save-imatrix")
      ->type_name("FILE")
      ->excludes(text);
  command->add_option("--save-imatrix", flags->save_imatrix, "keep what --text measured")
      ->type_name("FILE")
      ->needs(text);
  command->add_option("--chunks", flags->importance.chunks, "most chunks of 512 tokens of the text to read")
      ->capture_default_str()
      ->check(between(1u, 1u << 20));
  command->add_flag("--pure", flags->pure, "every matrix in the one encoding, none in better ones");
  add_threads(*command, flags->importance.threads);
  command->add_flag("--json", flags->json, "print one JSON object");
  command->footer(
      "Example: cairn quantize model-f16.gguf --type q4_k_m --text some.txt -o model-q4_k_m.gguf");
  command->callback([flags] { run(*flags); });
}

}  // namespace cairn::cli
