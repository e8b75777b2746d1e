#include "convert/general.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <regex>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace cairn::convert {
namespace {

struct Part {
  std::string text;
  bool base = false, size = false, finetune = false, version = false, type = false;
  bool none() const { return !base && !size && !finetune && !version && !type; }
};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// What is longer matches nothing: std::regex calls itself for every character, and config.json's name may be
// of any length. No folder's name is longer.
constexpr size_t kLongest = 255;

bool matches(const std::string& text, const char* expression, bool any_case = true) {
  return text.size() <= kLongest &&
         std::regex_match(text, std::regex(expression, any_case ? std::regex::ECMAScript | std::regex::icase
                                                                : std::regex::ECMAScript));
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> out(1);
  for (const char c : text) c == at ? void(out.emplace_back()) : out.back().push_back(c);
  std::erase_if(out, [](const std::string& part) { return part.empty(); });
  return out;
}

// A part that looks like a size.
void read_size(Part& part, uint64_t parameters) {
  std::string& text = part.text;
  std::ranges::replace(text, '_', '.');
  if (text.size() > 2 && is_digit(text.back()))  // "7b1"
    text = text.substr(0, text.size() - 2) + "." + text.back() + text[text.size() - 2];
  const bool numbered = text.size() > 1 && is_digit(text[text.size() - 2]);
  char& unit = text.back();
  if (numbered) unit = static_cast<char>(std::toupper(static_cast<unsigned char>(unit)));
  char* end = nullptr;
  const std::string digits = text.substr(0, text.size() - 1);
  const double count = std::strtod(digits.c_str(), &end);
  const size_t power = std::string_view(" KMBT").find(unit);
  if (parameters != 0 && !digits.empty() && *end == '\0' && power != std::string_view::npos) {
    const double label = count * std::pow(1000.0, static_cast<double>(power));
    if (std::abs(label - static_cast<double>(parameters)) > static_cast<double>(7 * parameters / 8)) {
      part.finetune = true;
      unit = static_cast<char>(std::tolower(static_cast<unsigned char>(unit)));
    }
  }
  if (part.none()) part.size = true;
}

void classify(std::vector<Part>& parts, uint64_t parameters) {
  for (size_t i = 0; i < parts.size(); ++i) {
    Part& part = parts[i];
    if (matches(part.text, R"((v|iter)?\d+([.]\d+)*)")) {
      part.version = true;
    } else if (matches(part.text, R"(i?q\d(_\w)*|b?fp?(16|32))")) {
      part.type = true;
    } else if (i > 0 &&
               matches(part.text, R"((A|\d+x)?\d+([._]\d+)?[KMBT]\d?|small|mini|medium|large|x?xl)")) {
      read_size(part, parameters);
    } else if (i > 0 && matches(part.text, "chat|instruct|vision|lora")) {
      part.finetune = true;
    }
  }
  // Words for sizes count where no number does.
  const auto numbered = [](const Part& p) { return p.size && std::ranges::any_of(p.text, is_digit); };
  if (std::ranges::any_of(parts, numbered)) {
    for (Part& part : parts)
      part.size = part.size && !std::ranges::all_of(part.text, [](char c) {
                    return std::isalpha(static_cast<unsigned char>(c)) != 0;
                  });
  }
  bool start = true;
  for (Part& part : parts) {
    if (start &&
        ((part.none() && std::isalpha(static_cast<unsigned char>(part.text[0])) != 0) || part.version)) {
      part.base = true;
    } else {
      start = false;
      if (part.none()) part.finetune = true;
    }
  }
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (!part->base || !part->version) break;
    part->base = false;
  }
}

std::optional<std::string> joined(const std::vector<Part>& parts,
                                  const std::function<bool(const Part&)>& which) {
  std::vector<std::string> seen;
  for (const Part& part : parts) {
    if (which(part)) seen.push_back(part.text);
  }
  if (seen.empty()) return std::nullopt;
  std::string out;
  for (const std::string& text : seen) out += (out.empty() ? "" : "-") + text;
  return out;
}

void sampling_metadata(const std::string& folder, Metadata& out) {
  std::optional<Json> file;
  try {
    file = find_json(folder + "/generation_config.json");
  } catch (const Error& error) {
    if (error.code() != ErrorCode::format) throw;  // some have broken ones, and all can do without
  }
  if (!file) return;
  const auto number = [&](const char* key, std::initializer_list<const char*> names) {
    for (const char* name : names) {
      const Json* value = member(*file, name);
      if (!value || !value->is_number()) continue;
      out.set(std::string("general.sampling.") + key, value->get<float>());
      return;
    }
  };
  const auto count = [&](const char* key, const char* name) {
    const Json* value = member(*file, name);
    if (!value || !value->is_number_integer()) return;
    const auto whole = value->get<int64_t>();  // of more than int64_t holds: less than 0
    if (std::in_range<int32_t>(whole) && (whole >= 0 || !value->is_number_unsigned()))
      out.set(std::string("general.sampling.") + key, static_cast<int32_t>(whole));
  };
  count("top_k", "top_k");
  number("top_p", {"top_p"});
  number("min_p", {"min_p"});
  number("xtc_probability", {"xtc_probability"});
  number("xtc_threshold", {"xtc_threshold"});
  number("temp", {"temperature"});
  count("penalty_last_n", "penalty_last_n");
  number("penalty_repeat", {"penalty_repeat", "repetition_penalty"});
  count("mirostat", "mirostat");
  number("mirostat_tau", {"mirostat_tau"});
  number("mirostat_eta", {"mirostat_eta"});
}

}  // namespace

NameParts name_parts(const std::string& id, uint64_t parameters) {
  NameParts out;
  out.full = id;
  if (id.find(' ') != std::string::npos) return out;
  if (const size_t slash = id.find('/'); slash != std::string::npos) {
    if (slash > 0 && id[0] != '.') out.organization = id.substr(0, slash);
    out.full = id.substr(slash + 1);
  }
  std::vector<Part> parts;
  for (std::string& text : split(out.full, '-')) parts.push_back({std::move(text)});
  classify(parts, parameters);
  std::vector<Part> sizes;  // each once
  for (const Part& part : parts) {
    if (part.size && std::ranges::find(sizes, part.text, &Part::text) == sizes.end()) sizes.push_back(part);
  }
  out.size = joined(sizes, [](const Part&) { return true; });
  out.finetune = joined(parts, [](const Part& p) { return p.finetune; });
  out.version = joined(parts, [](const Part& p) { return p.version && !p.base; });
  if (out.size || out.finetune || out.version)
    out.basename = joined(parts, [](const Part& p) { return p.base; });
  return out;
}

std::string name_title(const std::string& name) {
  std::string spaced = name, out;
  std::ranges::replace(spaced, '-', ' ');
  for (std::string word : split(spaced, ' ')) {
    const auto has = [&](int (*kind)(int)) {
      return std::ranges::any_of(word, [&](char c) { return kind(static_cast<unsigned char>(c)) != 0; });
    };
    if (has(std::islower) && !has(std::isupper) && !is_digit(word[0]) &&
        !matches(word, R"(v\d+(\.\d+)*)", false)) {
      bool inside = false;
      for (char& c : word) {
        const bool letter = std::isalpha(static_cast<unsigned char>(c)) != 0;
        if (letter && !inside) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        inside = letter;
      }
    }
    out += (out.empty() ? "" : " ") + word;
  }
  return out;
}

std::string size_label(uint64_t parameters) {
  const auto count = static_cast<double>(parameters);
  const auto [scale, unit] = count > 1e12  ? std::pair(1e-12, 'T')
                             : count > 1e9 ? std::pair(1e-9, 'B')
                             : count > 1e6 ? std::pair(1e-6, 'M')
                                           : std::pair(1e-3, 'K');
  const double scaled = count * scale;
  const double whole = std::nearbyint(scaled);
  const int digits = whole >= 10 ? 0 : whole >= 1 ? 1 : 2;  // two digits that count
  return fmt::format("{:.{}f}{}", scaled, digits, unit);
}

std::string size_label(const ParameterCount& parameters) {
  if (parameters.experts == 0) return size_label(parameters.total());
  return fmt::format("{}x{}", parameters.experts,
                     size_label(parameters.shared + parameters.routed / parameters.experts));
}

void general_metadata(const std::string& folder, const Config& config, const ParameterCount& parameters,
                      Metadata& out) {
  out.set("general.type", std::string("model"));
  sampling_metadata(folder, out);
  NameParts parts;
  const auto merge = [&](const NameParts& more) {
    if (parts.full.empty()) parts.full = name_title(more.full);
    const auto fill = [](std::optional<std::string>& to, const std::optional<std::string>& from) {
      if (!to) to = from;
    };
    if (!parts.organization && more.organization) parts.organization = name_title(*more.organization);
    fill(parts.basename, more.basename);
    fill(parts.finetune, more.finetune);
    fill(parts.version, more.version);
    fill(parts.size, more.size);
  };
  const std::string trained = text_of(config.file(), "_name_or_path");
  if (!trained.empty() && std::ranges::count(trained, '/') <= 1)
    merge(name_parts(trained, parameters.total()));
  std::error_code none;
  const std::filesystem::path real = std::filesystem::canonical(folder, none);
  merge(name_parts(none ? folder : real.filename().string(), parameters.total()));
  out.set("general.name", parts.full);
  for (const auto& [key, value] : {std::pair{"version", parts.version},
                                   {"organization", parts.organization},
                                   {"finetune", parts.finetune},
                                   {"basename", parts.basename}}) {
    if (value) out.set(std::string("general.") + key, *value);
  }
  out.set("general.size_label", parts.size ? *parts.size : size_label(parameters));
}

}  // namespace cairn::convert
