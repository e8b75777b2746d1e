#include "formats/describe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>

#include "base/byte_size.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::gguf {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kFewElements = 6, kFewCharacters = 80, kJsonElements = 16, kJsonFirst = 8;

std::string text_of(std::string_view text, bool full) {
  return quote(text, full ? text.size() : kFewCharacters);
}
std::string text_of(bool flag, bool) {
  return flag ? "true" : "false";
}
std::string text_of(int64_t number, bool) {
  return fmt::format("{}", number);
}
std::string text_of(uint64_t number, bool) {
  return fmt::format("{}", number);
}
std::string text_of(double number, bool) {
  return fmt::format("{:.7g}", number);
}

template <class T>
std::string text_of(const std::vector<T>& values, bool full) {
  const size_t shown = full || values.size() <= kFewElements ? values.size() : kFewElements;
  std::string out = "[";
  for (size_t i = 0; i < shown; ++i) out += (i ? ", " : "") + text_of(T(values[i]), full);
  return out + (shown < values.size() ? fmt::format(", … {} in all]", values.size()) : "]");
}

std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string out;
  for (const uint64_t size : shape) out += (out.empty() ? "" : " × ") + std::to_string(size);
  return out;
}

Json share_json(const Share& share) {
  return {{"tensors", share.tensors},
          {"elements", share.elements},
          {"bytes", share.bytes},
          {"bits_per_weight", share.bits_per_weight()}};
}

void add(Share& share, const Tensor& tensor) {
  ++share.tensors;
  share.elements += tensor.elements();
  share.bytes += tensor.data.size();
}

std::string share_text(std::string_view name, const Share& s) {
  return fmt::format("  {:<8}{:>6} tensors {:>15} weights {:>15} bytes {:>8.3f} bits a weight\n", name,
                     s.tensors, s.elements, s.bytes, s.bits_per_weight());
}

}  // namespace

Totals totals(const File& file) {
  Totals result;
  for (const EncodingInfo& e : encodings()) {
    Share share;
    for (const Tensor& tensor : file.tensors())
      if (tensor.encoding == e.encoding) add(share, tensor);
    if (share.tensors) result.encodings.emplace_back(e.encoding, share);
  }
  for (const Tensor& tensor : file.tensors()) add(result.all, tensor);
  std::stable_sort(result.encodings.begin(), result.encodings.end(),
                   [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  return result;
}

std::string describe(const Value& value, const DescribeOptions& options) {
  return std::visit([&](const auto& v) { return text_of(v, options.full); }, value);
}

Json to_json(const Value& value, const DescribeOptions& options) {
  return std::visit(
      [&](const auto& v) -> Json {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string_view>) {
          return v;
        } else {
          if (options.full || v.size() <= kJsonElements) return v;
          return {{"length", v.size()}, {"first", T(v.begin(), v.begin() + kJsonFirst)}};
        }
      },
      value);
}

std::string describe(const File& file, const DescribeOptions& options) {
  std::string out =
      fmt::format("{}: GGUF version {}, {}\n", file.path(), file.version(), byte_size(file.file_bytes()));
  const Totals sums = totals(file);
  for (const auto& [encoding, share] : sums.encodings)
    out += share_text(info(encoding).name, share);
  out += share_text("all", sums.all);
  if (options.metadata) {
    out += "\nmetadata\n";
    for (const auto& [key, value] : file.metadata()) {
      const std::string name = quote(key);
      out += fmt::format("  {} = {}\n", name.substr(1, name.size() - 2), describe(value, options));
    }
  }
  if (!options.tensors) return out;
  out += "\ntensors\n";
  size_t widest = 0;
  for (const Tensor& t : file.tensors()) widest = std::max(widest, quote(t.name).size());
  for (const Tensor& t : file.tensors())
    out += fmt::format("  {:<{}}  {:<8}{:>13} bytes  {}\n", quote(t.name), widest, info(t.encoding).name,
                       t.data.size(), shape_text(t.shape));
  return out;
}

Json to_json(const File& file, const DescribeOptions& options) {
  Json json{{"path", file.path()}, {"version", file.version()}, {"file_bytes", file.file_bytes()}};
  Json& metadata = json["metadata"] = Json::object();
  for (const auto& [key, value] : file.metadata()) metadata[key] = to_json(value, options);
  Json& tensors = json["tensors"] = Json::array();
  for (const Tensor& t : file.tensors())
    tensors.push_back({{"name", t.name},
                       {"shape", t.shape},
                       {"encoding", info(t.encoding).name},
                       {"bytes", t.data.size()}});
  const Totals sums = totals(file);
  Json all = share_json(sums.all);
  Json& by_encoding = all["encodings"] = Json::object();
  for (const auto& [encoding, share] : sums.encodings)
    by_encoding[std::string(info(encoding).name)] = share_json(share);
  json["totals"] = std::move(all);
  return json;
}

}  // namespace cairn::gguf
