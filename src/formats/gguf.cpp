#include "formats/gguf.hpp"

#include <limits>
#include <map>
#include <mutex>
#include <type_traits>

#include "base/error.hpp"
#include "formats/byte_reader.hpp"
#include "formats/gguf_part.hpp"

namespace cairn::gguf {
namespace {

template <class T>
constexpr bool is_integer = std::is_same_v<T, int64_t> || std::is_same_v<T, uint64_t>;
template <class T>
constexpr bool is_number = is_integer<T> || std::is_same_v<T, double>;

const Value& require(const File& file, std::string_view key) {
  const Value* value = file.find(key);
  if (!value) fail(ErrorCode::format, "{}: metadata: key '{}' is missing", file.path(), key);
  return *value;
}

[[noreturn]] void wrong_kind(const File& file, std::string_view key, const char* wanted) {
  fail(ErrorCode::format, "{}: metadata: '{}' is not {}", file.path(), key, wanted);
}

std::string_view as_text(const File& file, std::string_view key, const Value& value) {
  const auto* text = std::get_if<std::string_view>(&value);
  if (!text) wrong_kind(file, key, "a string");
  return *text;
}

uint64_t as_integer(const File& file, std::string_view key, const Value& value) {
  if (const auto* u = std::get_if<uint64_t>(&value)) return *u;
  const auto* i = std::get_if<int64_t>(&value);
  if (!i) wrong_kind(file, key, "an integer");
  if (*i < 0) fail(ErrorCode::format, "{}: metadata: '{}' is negative ({})", file.path(), key, *i);
  return static_cast<uint64_t>(*i);
}

double as_number(const File& file, std::string_view key, const Value& value) {
  return std::visit(
      [&](const auto& v) -> double {
        if constexpr (is_number<std::decay_t<decltype(v)>>)
          return static_cast<double>(v);
        else
          wrong_kind(file, key, "a number");
      },
      value);
}

// "model-00001-of-00003.gguf" → "model-{:05}-of-00003.gguf"'s two ends.
struct SplitName {
  std::string stem, tail;
  std::string part(uint64_t number) const { return fmt::format("{}-{:05}{}", stem, number, tail); }
};

SplitName split_name(const std::string& path, uint64_t count) {
  const std::string tail = fmt::format("-of-{:05}.gguf", count);
  const std::string ending = "-00001" + tail;
  if (!path.ends_with(ending))
    fail(ErrorCode::format, "{}: is the first of {} split files, but its name does not end in {}", path,
         count, ending);
  return {path.substr(0, path.size() - ending.size()), tail};
}

uint64_t split_key(const Part& part, std::string_view key) {
  const auto found = part.metadata.find(key);
  if (found == part.metadata.end())
    fail(ErrorCode::format, "{}: metadata: key '{}' of a split file is missing", part.file.path(), key);
  if (const auto* u = std::get_if<uint64_t>(&found->second)) return *u;
  if (const auto* i = std::get_if<int64_t>(&found->second); i && *i >= 0) return static_cast<uint64_t>(*i);
  fail(ErrorCode::format, "{}: metadata: '{}' is not a count", part.file.path(), key);
}

std::vector<Part> read_parts(const std::string& path) {
  constexpr uint64_t kMostParts = 99'999;  // five digits in the name
  std::vector<Part> parts;
  parts.push_back(read_part(path));
  if (!parts[0].metadata.contains("split.count")) return parts;
  const uint64_t count = split_key(parts[0], "split.count");
  if (count <= 1) return parts;
  if (count > kMostParts) fail(ErrorCode::format, "{}: metadata: split.count is {}", path, count);
  if (const uint64_t number = split_key(parts[0], "split.no"); number != 0)
    fail(ErrorCode::invalid_argument, "{}: is part {} of {} split files; give the first", path, number + 1,
         count);
  const SplitName name = split_name(path, count);
  uint64_t tensors = parts[0].tensors.size();
  for (uint64_t i = 1; i < count; ++i) {
    parts.push_back(read_part(name.part(i + 1)));
    const Part& part = parts.back();
    if (split_key(part, "split.no") != i || split_key(part, "split.count") != count)
      fail(ErrorCode::format, "{}: says that it is part {} of {}, but its name says part {} of {}",
           part.file.path(), split_key(part, "split.no") + 1, split_key(part, "split.count"), i + 1, count);
    tensors += part.tensors.size();
  }
  if (const uint64_t wanted = split_key(parts[0], "split.tensors.count"); wanted != tensors)
    fail(ErrorCode::format, "{}: split.tensors.count is {}, the {} split files hold {}", path, wanted, count,
         tensors);
  return parts;
}

}  // namespace

uint64_t Tensor::elements() const noexcept {
  uint64_t product = 1;
  for (const uint64_t length : shape) product *= length;
  return product;
}

uint64_t Tensor::row_bytes() const {
  const EncodingInfo& e = info(encoding);
  return shape[0] / e.block_elements * e.block_bytes;
}

struct File::State {
  std::string path;
  std::vector<Part> parts;
  std::vector<Tensor> tensors;
  std::map<std::string_view, size_t> index;
  uint64_t bytes = 0;
  mutable std::mutex owning;
  // Of an assembled file.
  std::shared_ptr<const State> head;
  std::vector<Outside> outside;
  std::vector<std::shared_ptr<const MappedFile>> others;

  const std::vector<Part>& head_parts() const noexcept { return head ? head->parts : parts; }
  template <class Action>
  void each_file(const Action& action) const {
    for (const Part& part : head_parts()) action(part.file);
    for (const auto& file : others) action(*file);
  }
};

File::File(const std::string& path) {
  auto state = std::make_shared<State>();
  state->path = path;
  state->parts = read_parts(path);
  for (Part& part : state->parts) {
    state->bytes += part.file_bytes;
    for (Tensor& tensor : part.tensors) {
      if (!state->index.emplace(tensor.name, state->tensors.size()).second)
        fail(ErrorCode::format, "{}: tensor {} is in an earlier split file as well", part.file.path(),
             quote(tensor.name));
      state->tensors.push_back(std::move(tensor));
    }
    part.tensors.clear();
  }
  state_ = std::move(state);
}

File File::assemble(std::string path, const File& head, std::vector<Outside> tensors,
                    std::vector<std::shared_ptr<const MappedFile>> others, uint64_t bytes) {
  auto state = std::make_shared<State>();
  state->path = std::move(path);
  state->head = head.state_;
  state->outside = std::move(tensors);
  state->others = std::move(others);
  state->bytes = bytes;
  for (const Outside& t : state->outside) {
    const auto data = t.data.empty() ? head.tensor(t.name).data : t.data;
    state->index.emplace(t.name, state->tensors.size());
    state->tensors.push_back({t.name, t.encoding, t.shape, data});
  }
  return File(std::move(state));
}

const std::string& File::path() const noexcept {
  return state_->path;
}
uint32_t File::version() const noexcept {
  return state_->head_parts()[0].version;
}
uint64_t File::file_bytes() const noexcept {
  return state_->bytes;
}
void File::require_whole() const {
  state_->each_file([](const MappedFile& file) { file.require_whole(); });
}
void File::tolerate_losses(bool on) const noexcept {
  state_->each_file([on](const MappedFile& file) { file.tolerate_losses(on); });
}
void File::require_read() const {
  state_->each_file([](const MappedFile& file) { file.require_read(); });
}
void File::own(ThreadPool& pool) const {
  const std::lock_guard lock(state_->owning);
  state_->each_file([&pool](const MappedFile& file) { file.own(pool); });
}
const Metadata& File::metadata() const noexcept {
  return state_->head_parts()[0].metadata;
}
const std::vector<std::pair<std::string_view, std::span<const std::byte>>>& File::raw_metadata()
    const noexcept {
  return state_->head_parts()[0].raw_metadata;
}
const std::optional<StackRegion>& File::stack_region() const noexcept {
  return state_->head_parts()[0].stack;
}
const std::vector<Tensor>& File::tensors() const noexcept {
  return state_->tensors;
}

const Value* File::find(std::string_view key) const noexcept {
  const auto found = metadata().find(key);
  return found == metadata().end() ? nullptr : &found->second;
}

const Tensor* File::find_tensor(std::string_view name) const noexcept {
  const auto found = state_->index.find(name);
  return found == state_->index.end() ? nullptr : &state_->tensors[found->second];
}

const Tensor& File::tensor(std::string_view name) const {
  const Tensor* found = find_tensor(name);
  if (!found) fail(ErrorCode::not_found, "{}: tensor '{}' is missing", path(), name);
  return *found;
}

std::string_view File::text(std::string_view key) const {
  return as_text(*this, key, require(*this, key));
}
std::string_view File::text(std::string_view key, std::string_view otherwise) const {
  const Value* value = find(key);
  return value ? as_text(*this, key, *value) : otherwise;
}

uint64_t File::integer(std::string_view key) const {
  return as_integer(*this, key, require(*this, key));
}
uint64_t File::integer(std::string_view key, uint64_t otherwise) const {
  const Value* value = find(key);
  return value ? as_integer(*this, key, *value) : otherwise;
}

double File::number(std::string_view key) const {
  return as_number(*this, key, require(*this, key));
}
double File::number(std::string_view key, double otherwise) const {
  const Value* value = find(key);
  return value ? as_number(*this, key, *value) : otherwise;
}

bool File::boolean(std::string_view key, bool otherwise) const {
  const Value* value = find(key);
  if (!value) return otherwise;
  const auto* flag = std::get_if<bool>(value);
  if (!flag) wrong_kind(*this, key, "a boolean");
  return *flag;
}

std::vector<std::string_view> File::texts(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return {};
  const auto* texts = std::get_if<std::vector<std::string_view>>(value);
  if (!texts) wrong_kind(*this, key, "an array of strings");
  return *texts;
}

std::vector<int64_t> File::integers(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return {};
  if (const auto* signed_values = std::get_if<std::vector<int64_t>>(value)) return *signed_values;
  const auto* values = std::get_if<std::vector<uint64_t>>(value);
  if (!values) wrong_kind(*this, key, "an array of integers");
  for (const uint64_t v : *values)
    if (v > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      fail(ErrorCode::format, "{}: metadata: '{}' holds {}, too large for a signed integer", path(), key, v);
  return {values->begin(), values->end()};
}

std::vector<double> File::numbers(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return {};
  return std::visit(
      [&](const auto& v) -> std::vector<double> {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::vector<double>> ||
                      std::is_same_v<std::decay_t<decltype(v)>, std::vector<int64_t>> ||
                      std::is_same_v<std::decay_t<decltype(v)>, std::vector<uint64_t>>)
          return {v.begin(), v.end()};
        else
          wrong_kind(*this, key, "an array of numbers");
      },
      *value);
}

}  // namespace cairn::gguf
