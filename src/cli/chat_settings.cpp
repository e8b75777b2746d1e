#include "cli/chat_settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "base/error.hpp"
#include "base/near_match.hpp"

namespace cairn::cli {
namespace {

template <class T>
T number(const std::string& name, const std::string& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    fail(ErrorCode::invalid_argument, "/set {}: '{}' is not a{} number", name, text,
         std::is_integral_v<T> ? " whole" : "");
  return value;
}

}  // namespace

std::vector<std::string> parameter_names() {
  return {"temperature", "top-k", "top-p", "min-p", "repetition-penalty", "max-tokens", "seed"};
}

void set_parameter(llm::GenerateOptions& options, const std::string& words) {
  std::string rest = words;
  for (const char* prefix : {"parameter ", " "}) {
    while (rest.starts_with(prefix)) rest.erase(0, std::char_traits<char>::length(prefix));
  }
  const size_t blank = rest.find(' ');
  std::string name = rest.substr(0, blank);
  std::string value = blank == std::string::npos ? "" : rest.substr(rest.find_first_not_of(' ', blank));
  std::ranges::replace(name, '_', '-');
  for (const auto& [other, ours] : {std::pair{"temp", "temperature"},
                                    {"num-predict", "max-tokens"},
                                    {"repeat-penalty", "repetition-penalty"}}) {
    if (name == other) name = ours;
  }
  const auto known = parameter_names();
  if (std::ranges::find(known, name) == known.end())
    fail(ErrorCode::invalid_argument, "/set {}: {}{}", name, fmt::join(known, ", "),
         did_you_mean(name, known));
  if (value.empty()) fail(ErrorCode::invalid_argument, "/set {} needs a value", name);
  llm::GenerateOptions changed = options;
  llm::SamplerOptions& sampler = changed.sampler;
  if (name == "temperature") sampler.temperature = number<float>(name, value);
  if (name == "top-k") sampler.top_k = number<uint32_t>(name, value);
  if (name == "top-p") sampler.top_p = number<float>(name, value);
  if (name == "min-p") sampler.min_p = number<float>(name, value);
  if (name == "repetition-penalty") sampler.repetition_penalty = number<float>(name, value);
  if (name == "seed") {
    const auto seed = number<int64_t>(name, value);
    sampler.seed = seed < 0 ? std::nullopt : std::optional(static_cast<uint64_t>(seed));
  }
  if (name == "max-tokens") {
    const auto count = number<int64_t>(name, value);
    constexpr auto most = std::numeric_limits<uint32_t>::max();
    changed.max_tokens = count < 0 || count > most ? most : static_cast<uint32_t>(count);
  }
  sampler.validate(std::numeric_limits<int32_t>::max());
  options = std::move(changed);
}

std::string parameters(const llm::GenerateOptions& options) {
  const llm::SamplerOptions& s = options.sampler;
  return fmt::format(
      "temperature {:g}\ntop-k {}\ntop-p {:g}\nmin-p {:g}\nrepetition-penalty {:g}\nmax-tokens {}\nseed {}\n",
      s.temperature, s.top_k, s.top_p, s.min_p, s.repetition_penalty,
      options.max_tokens == std::numeric_limits<uint32_t>::max() ? "as many as fit"
                                                                 : std::to_string(options.max_tokens),
      s.seed ? std::to_string(*s.seed) : "random");
}

}  // namespace cairn::cli
