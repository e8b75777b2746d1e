#include "base/split_paths.hpp"
#include "cli/output_flags.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {

std::vector<std::string> model_inputs(const std::string& name_or_path, const std::vector<std::string>& more) {
  std::vector<std::string> inputs = split_paths(resolve_model(name_or_path));
  inputs.insert(inputs.end(), more.begin(), more.end());
  return inputs;
}

}  // namespace cairn::cli
