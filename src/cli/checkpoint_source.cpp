#include "cli/checkpoint_source.hpp"

#include <algorithm>
#include <filesystem>

#include "base/interrupt.hpp"
#include "base/output_path.hpp"
#include "base/progress.hpp"
#include "cli/output_flags.hpp"
#include "convert/open.hpp"
#include "store/model_store.hpp"
#include "store/pull/checkpoint.hpp"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;

std::string folder_of(const std::string& checkpoint) {
  return is_hub_checkpoint(checkpoint) ? pull_checkpoint(checkpoint) : checkpoint;
}

std::string folder_beside(const std::string& output) {
  if (is_special(output)) return fs::temp_directory_path().string();
  const std::string folder = fs::path(output).parent_path().string();
  return folder.empty() ? "." : folder;
}

}  // namespace

bool is_checkpoint(const std::string& name_or_path) {
  if (is_hub_checkpoint(name_or_path)) return true;
  std::error_code none;
  if (!fs::is_directory(name_or_path, none)) return false;
  if (!fs::exists(fs::path(name_or_path) / "config.json", none)) return false;
  const std::vector<std::string> names = stored_model_names();
  return std::find(names.begin(), names.end(), name_or_path) == names.end();
}

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code none;
  fs::directory_iterator at(folder, none);
  for (; !none && at != fs::directory_iterator(); at.increment(none)) paths.push_back(at->path().string());
  return paths;
}

void add_source(CLI::App& command, std::string& source) {
  command
      .add_option(
          "MODEL,-m,--model", source,
          "a model file, the short name of a pulled model, or a checkpoint: a folder with config.json "
          "and safetensors, or hf:owner/repository")
      ->required();
}

std::vector<std::string> source_inputs(const std::string& name_or_path,
                                       const std::vector<std::string>& more) {
  if (!is_checkpoint(name_or_path)) return model_inputs(name_or_path, more);
  std::vector<std::string> inputs = files_in(name_or_path);
  inputs.insert(inputs.end(), more.begin(), more.end());
  return inputs;
}

gguf::File open_source(const std::string& name_or_path, const std::string& output) {
  if (!is_checkpoint(name_or_path)) return gguf::File(resolve_model(name_or_path));
  Progress bar("converting " + name_or_path, 0);
  bool begun = false;
  return convert::open(folder_of(name_or_path), convert::Type::automatic, folder_beside(output),
                       [&](uint64_t done, uint64_t total) {
                         throw_if_interrupted();
                         if (!begun) bar.restart(0, total);
                         begun = true;
                         bar.update(done);
                       });
}

}  // namespace cairn::cli
