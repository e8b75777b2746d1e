#include "convert/pooling.hpp"

#include <filesystem>

#include "base/error.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

// GGUF's numbers.
constexpr uint32_t kMean = 1, kFirst = 2, kLast = 3;

// The folder of the module that pools, as modules.json has it; nullopt: none does.
std::optional<std::string> pooling_folder(const std::string& path) {
  std::error_code none;
  if (!std::filesystem::exists(path, none)) return std::nullopt;
  constexpr size_t kMost = size_t{1} << 20;
  // A list, which parse_json() does not take.
  const Json modules = parse_json("{\"modules\":" + read_text_file(path, kMost) + "}", path)["modules"];
  if (!modules.is_array()) fail(ErrorCode::format, "{}: is no list", path);
  std::optional<std::string> out;
  for (const Json& module : modules) {
    const std::string type = text_of(module, "type");
    if (type.ends_with(".Transformer") || type.ends_with(".Normalize")) continue;
    // Another would change the vectors: Dense, or a second pooling.
    if (!type.ends_with(".Pooling") || out)
      fail(ErrorCode::unsupported,
           "{}: a module {} is not supported (Transformer, one Pooling, Normalize are)", path, quote(type));
    std::string folder = text_of(module, "path");
    const bool plain = !folder.empty() && folder.front() != '.' &&
                       folder.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
    if (!plain) fail(ErrorCode::format, "{}: {} is no folder's name", path, quote(folder));
    out = std::move(folder);
  }
  return out;
}

}  // namespace

void pooling_metadata(const Config& config, ModelMetadata& out) {
  const std::string folder = std::filesystem::path(config.path()).parent_path().string();
  const auto pooling = pooling_folder(folder + "/modules.json");
  if (!pooling) return;
  const std::string path = folder + "/" + *pooling + "/config.json";
  const Json how = read_json(path);
  const std::string mode = text_of(how, "pooling_mode");
  size_t modes = 0;
  for (const auto& [key, value] : how.items()) modes += key.starts_with("pooling_mode_") && value == true;
  if (modes > 1)
    fail(ErrorCode::unsupported, "{}: pools in several ways at once, which is not supported", path);
  const auto is = [&](const char* key, const char* name) {
    const Json* flag = member(how, key);
    return (flag != nullptr && *flag == true) || mode == name;
  };
  if (is("pooling_mode_mean_tokens", "mean")) {
    out.size("pooling_type", kMean);
  } else if (is("pooling_mode_cls_token", "cls")) {
    out.size("pooling_type", kFirst);
  } else if (is("pooling_mode_lasttoken", "lasttoken")) {
    out.size("pooling_type", kLast);
  } else {
    fail(ErrorCode::unsupported, "{}: pools in another way than by mean, [CLS] or last token", path);
  }
}

}  // namespace cairn::convert
