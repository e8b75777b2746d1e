#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::convert {

using Json = nlohmann::json;

// Text as JSON whose outermost value is an object. Error format names `where`, the byte and the reason.
// So is nesting beyond 64 levels; `unique`: so is a key that stands twice in one object.
Json parse_json(std::string_view text, const std::string& where, bool unique = false);

// A file as text. Errors: not_found, io; format beyond `most` bytes.
std::string read_text_file(const std::string& path, size_t most);

// A file of at most 256 MiB. Errors as of the two above.
Json read_json(const std::string& path);
// nullopt where there is no such file.
std::optional<Json> find_json(const std::string& path);

// A member that is there and not null, else nullptr; also when `object` is no object.
const Json* member(const Json& object, std::string_view key);
// A member's text; empty when it is absent or no text.
std::string text_of(const Json& object, std::string_view key);

// An integer in [0, most]. Error format says that `what` (a file, a key) is not.
uint64_t whole_number(const Json& value, uint64_t most, const std::string& where, std::string_view what);

}  // namespace cairn::convert
