#include "convert/json_file.hpp"

#include <algorithm>
#include <filesystem>
#include <set>
#include <vector>

#include "base/error.hpp"
#include "base/mapped_file.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

constexpr size_t kMostJson = size_t{256} << 20;
constexpr int kMostDepth = 64;  // copying and printing call themselves for each level

// Python writes infinities as JSON has none (time_step_limit of Nemotron-H): they become null, in as many
// bytes.
void hide_infinities(std::string& text) {
  constexpr std::string_view kInfinity = "Infinity", kNull = "null";
  const size_t last = text.rfind(kInfinity);
  bool inside = false;  // a string
  for (size_t at = 0; last != std::string::npos && at <= last; ++at) {
    if (inside && text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      inside = !inside;
    } else if (!inside && text.compare(at, kInfinity.size(), kInfinity) == 0) {
      const size_t begin = at > 0 && text[at - 1] == '-' ? at - 1 : at;
      std::fill(text.begin() + static_cast<ptrdiff_t>(begin),
                text.begin() + static_cast<ptrdiff_t>(at + kInfinity.size()), ' ');
      text.replace(begin, kNull.size(), kNull);
    }
  }
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where, bool unique) {
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMostDepth) fail(ErrorCode::format, "{}: is nested more than {} deep", where, kMostDepth);
    if (!unique) return true;
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      fail(ErrorCode::format, "{}: {} stands twice", where, quote(parsed.get<std::string>()));
    return true;
  };
  Json json;
  try {
    json = Json::parse(text, watch);
  } catch (const Json::parse_error& error) {
    fail(ErrorCode::format, "{}: byte {}: is not JSON", where, error.byte);
  } catch (const Json::exception&) {  // a number beyond a double's range
    fail(ErrorCode::format, "{}: holds a number that is too large", where);
  }
  if (!json.is_object()) fail(ErrorCode::format, "{}: is JSON, but not an object", where);
  return json;
}

std::string read_text_file(const std::string& path, size_t most) {
  const MappedFile file(path);
  if (file.bytes().size() > most)
    fail(ErrorCode::format, "{}: has {} bytes, more than the {} that such a file may have", path,
         file.bytes().size(), most);
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

Json read_json(const std::string& path) {
  std::string text = read_text_file(path, kMostJson);
  hide_infinities(text);
  return parse_json(text, path);
}

std::optional<Json> find_json(const std::string& path) {
  std::error_code none;
  if (!std::filesystem::exists(path, none)) return std::nullopt;
  return read_json(path);
}

const Json* member(const Json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string text_of(const Json& object, std::string_view key) {
  const Json* value = member(object, key);
  return value && value->is_string() ? value->get<std::string>() : std::string();
}

uint64_t whole_number(const Json& value, uint64_t most, const std::string& where, std::string_view what) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > most)
    fail(ErrorCode::format, "{}: {} is {}, expected a whole number up to {}", where, what,
         quote(value.dump(-1, ' ', true, Json::error_handler_t::replace)), most);
  return value.get<uint64_t>();
}

}  // namespace cairn::convert
