#include "encode/importance.hpp"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "formats/gguf_writer.hpp"

namespace cairn::encode {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";

uint32_t number(const gguf::File& file, std::string_view key) {
  const uint64_t value = file.integer(key, 0);
  if (value > std::numeric_limits<uint32_t>::max())
    fail(ErrorCode::format, "{}: {} is {}, more than 32 bits hold", file.path(), key, value);
  return static_cast<uint32_t>(value);
}

std::vector<float> floats(const gguf::File& file, const gguf::Tensor& tensor) {
  if (tensor.encoding != Encoding::f32)
    fail(ErrorCode::format, "{}: tensor '{}' is {}, not f32", file.path(), tensor.name,
         info(tensor.encoding).name);
  std::vector<float> values(tensor.elements());
  std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  file.require_whole();
  for (const float value : values)
    if (!std::isfinite(value) || value < 0)
      fail(ErrorCode::format, "{}: tensor '{}' holds {}", file.path(), tensor.name, value);
  return values;
}

}  // namespace

const std::vector<float>* Importance::find(std::string_view matrix) const {
  const auto found = columns.find(matrix);
  return found == columns.end() ? nullptr : &found->second;
}

Importance read_importance(const std::string& path) {
  const gguf::File file(path);
  Importance importance;
  importance.file = std::filesystem::path(path).filename().string();
  const std::vector<std::string_view> datasets = file.texts("imatrix.datasets");
  if (!datasets.empty()) importance.dataset = datasets.front();
  importance.chunks = number(file, "imatrix.chunk_count");
  importance.chunk_tokens = number(file, "imatrix.chunk_size");
  for (const gguf::Tensor& tensor : file.tensors()) {
    if (!tensor.name.ends_with(kSums)) continue;
    const std::string name(tensor.name.substr(0, tensor.name.size() - kSums.size()));
    std::vector<float> sums = floats(file, tensor);
    const std::vector<float> counts = floats(file, file.tensor(name + std::string(kCounts)));
    const size_t width = sums.size() / counts.size();
    if (width * counts.size() != sums.size())
      fail(ErrorCode::format, "{}: tensor '{}' has {} values for {} counts", path, tensor.name, sums.size(),
           counts.size());
    for (size_t i = 0; i < sums.size(); ++i) {
      const float count = counts[i / width], mean = count > 0 ? sums[i] / count : 1;
      if (!std::isfinite(mean))
        fail(ErrorCode::format, "{}: tensor '{}' holds {} for a count of {}", path, tensor.name, sums[i],
             count);
      sums[i] = mean;
    }
    importance.columns.emplace(name, std::move(sums));
  }
  if (importance.columns.empty())
    fail(ErrorCode::format, "{}: holds no importance: no tensor's name ends in {}", path, kSums);
  return importance;
}

void write_importance(const Importance& importance, const std::string& path) {
  gguf::Writer writer;
  writer.set("general.type", std::string("imatrix"));
  writer.set("imatrix.datasets", std::vector<std::string>{importance.dataset});
  writer.set("imatrix.chunk_count", importance.chunks);
  writer.set("imatrix.chunk_size", importance.chunk_tokens);
  const float tokens = static_cast<float>(importance.chunks) * static_cast<float>(importance.chunk_tokens);
  std::vector<std::vector<float>> values;
  for (const auto& [name, columns] : importance.columns) {
    writer.add_tensor(name + std::string(kSums), Encoding::f32, {columns.size(), 1});
    writer.add_tensor(name + std::string(kCounts), Encoding::f32, {1, 1});
    values.push_back(columns);
    for (float& value : values.back()) value *= tokens;
    values.push_back({tokens});
  }
  writer.write(path,
               [&](size_t i, const gguf::Writer::Sink& sink) { sink(std::as_bytes(std::span(values[i]))); });
}

}  // namespace cairn::encode
