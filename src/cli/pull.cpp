#include "store/pull/pull.hpp"

#include <fmt/format.h>

#include <memory>
#include <string>

#include "base/interrupt.hpp"
#include "cli/commands.hpp"
#include "convert/convert.hpp"
#include "formats/gguf.hpp"
#include "formats/gguf_part.hpp"
#include "stack/verify.hpp"
#include "store/known_models.hpp"

namespace cairn::cli {
namespace {

// Reading the header compares what it says with the file's size; a stack says itself what its bytes shall be.
void check_model(const std::string& path) {
  const gguf::File file(path);
  if (stack::is_stack(file)) stack::require_sound(path);
}

}  // namespace

void add_pull(CLI::App& program) {
  struct Flags {
    PullRequest request;
    bool list = false;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("pull", "fetch a model and print its file's path");
  CLI::Option* source = command->add_option(
      "MODEL", flags->request.source,
      "a short name (" + known_model_names() + "), a URL, hf:owner/repository/file.gguf, or a file's path");
  command->add_option("--name", flags->request.name, "short name to store it under")->type_name("NAME");
  command->add_option("--sha256", flags->request.sha256, "what the file's sha256 must be")->type_name("HEX");
  command->add_flag("--list", flags->list, "print the known models and stop")->excludes(source);
  command->footer(
      "The last line on stdout is the path; progress goes to stderr. A download that broke off goes on where "
      "it\n"
      "stopped. Models are kept in $CAIRN_MODELS, or else in ~/.cache/cairn/models.\n"
      "Example: cairn pull smollm2-135m");
  command->callback([flags] {
    if (flags->list) {
      for (const KnownModel& model : known_models()) {
        fmt::print("{:<18} {:>6.0f} MB  {}\n", model.name, static_cast<double>(model.bytes) / 1e6,
                   model.about);
      }
      return;
    }
    if (flags->request.source.empty()) throw CLI::RequiredError("MODEL");
    flags->request.check = check_model;
    flags->request.check_part = [](const std::string& path) { gguf::read_part(path); };
    flags->request.convert = [](const std::string& folder, const std::string& path) {
      convert::convert(folder, convert::Type::automatic, path,
                       [](uint64_t, uint64_t) { throw_if_interrupted(); });
    };
    fmt::print("{}\n", pull(flags->request));
  });
}

}  // namespace cairn::cli
