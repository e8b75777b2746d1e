#include "graph/metadata.hpp"

#include <cmath>
#include <limits>

#include "base/error.hpp"

namespace cairn::graph {
namespace {

constexpr const char* kPattern = "attention.sliding_window_pattern";
constexpr uint64_t kMaxPattern = 1'000'000;

}  // namespace

uint32_t Metadata::checked(const char* suffix, uint64_t value, uint64_t most) const {
  if (value < 1 || value > most) {
    fail(ErrorCode::format, "{}: {} is {}, expected 1 to {}", path(), key(suffix), value, most);
  }
  return static_cast<uint32_t>(value);
}

float Metadata::checked(const char* suffix, double value) const {
  const float narrow = static_cast<float>(value);
  // Of a smaller one the inverse may be infinite.
  if (!std::isfinite(narrow) || !(narrow >= std::numeric_limits<float>::min())) {
    fail(ErrorCode::format, "{}: {} is {}, expected a positive number", path(), key(suffix), value);
  }
  return narrow;
}

uint32_t Metadata::size(const char* suffix, uint64_t most) const {
  return checked(suffix, file_.integer(key(suffix)), most);
}

uint32_t Metadata::size(const char* suffix, uint64_t otherwise, uint64_t most) const {
  return has(suffix) ? size(suffix, most) : checked(suffix, otherwise, most);
}

float Metadata::number(const char* suffix, double otherwise) const {
  const double value = file_.number(key(suffix), otherwise);
  const float narrow = static_cast<float>(value);
  if (!std::isfinite(narrow)) {
    fail(ErrorCode::format, "{}: {} is {}, expected a number", path(), key(suffix), value);
  }
  return narrow;
}

float Metadata::positive(const char* suffix) const {
  return checked(suffix, file_.number(key(suffix)));
}

float Metadata::positive(const char* suffix, double otherwise) const {
  return checked(suffix, file_.number(key(suffix), otherwise));
}

std::vector<bool> Metadata::windows(uint32_t layers) const {
  const gguf::Value* value = file_.find(key(kPattern));
  const auto* list = value == nullptr ? nullptr : std::get_if<std::vector<bool>>(value);
  if (list == nullptr) return {};
  if (list->size() != layers) {
    fail(ErrorCode::format, "{}: {} has {} entries for {} layers", path(), key(kPattern), list->size(),
         layers);
  }
  return *list;
}

std::vector<bool> Metadata::flags(const char* suffix, uint32_t layers) const {
  const gguf::Value* value = file_.find(key(suffix));
  if (value == nullptr) return {};
  const auto* list = std::get_if<std::vector<bool>>(value);
  if (list == nullptr || list->size() != layers) {
    fail(ErrorCode::format, "{}: {} is no list of {} flags, one for each layer", path(), key(suffix), layers);
  }
  return *list;
}

bool Metadata::is_list(const char* suffix) const {
  const gguf::Value* value = file_.find(key(suffix));
  return value != nullptr && (std::holds_alternative<std::vector<int64_t>>(*value) ||
                              std::holds_alternative<std::vector<uint64_t>>(*value));
}

std::vector<uint32_t> Metadata::list(const char* suffix, uint32_t layers, uint64_t most) const {
  const std::vector<int64_t> found = file_.integers(key(suffix));
  if (found.size() != layers) {
    fail(ErrorCode::format, "{}: {} has {} entries for {} layers", path(), key(suffix), found.size(), layers);
  }
  std::vector<uint32_t> result;
  for (const int64_t n : found) {
    if (n < 0 || static_cast<uint64_t>(n) > most) {
      fail(ErrorCode::format, "{}: {} has {} in layer {}, expected 0 to {}", path(), key(suffix), n,
           result.size(), most);
    }
    result.push_back(static_cast<uint32_t>(n));
  }
  return result;
}

uint32_t Metadata::window_pattern(uint32_t otherwise) const {
  const gguf::Value* value = file_.find(key(kPattern));
  if (value == nullptr || std::holds_alternative<std::vector<bool>>(*value)) return otherwise;
  return checked(kPattern, file_.integer(key(kPattern)), kMaxPattern);
}

}  // namespace cairn::graph
