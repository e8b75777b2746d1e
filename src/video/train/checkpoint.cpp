#include "video/train/checkpoint.hpp"

#include <xxhash.h>

#include <algorithm>
#include <filesystem>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "base/mapped_file.hpp"
#include "video/bytes.hpp"

namespace cairn::video {
namespace {

constexpr uint64_t kMagic = 0x3130544E49415254;  // "TRAINT01"

void put_floats(std::vector<std::byte>& bytes, const std::vector<float>& values) {
  put(bytes, static_cast<uint64_t>(values.size()));
  for (const float value : values) put(bytes, value);
}

std::vector<float> take_floats(ByteReader& reader) {
  std::vector<float> values(reader.count(sizeof(float), "a list's length"));
  const auto from = reader.take(values.size() * sizeof(float), "a list");
  if (!values.empty()) std::memcpy(values.data(), from.data(), from.size());
  return values;
}

}  // namespace

uint64_t hash_training(const std::string& description, const TrainingSet& set) {
  uint64_t hash = XXH3_64bits(description.data(), description.size());
  // The first, middle and last frames tell videos apart.
  for (const size_t f : {size_t{0}, set.frames.size() / 2, set.frames.size() - 1}) {
    const TrainingFrame& frame = set.frames[f];
    for (const std::vector<uint16_t>* plane : {&frame.small[0], &frame.original})
      hash = XXH3_64bits_withSeed(plane->data(), plane->size() * sizeof(uint16_t), hash);
  }
  return hash;
}

void write_checkpoint(const std::string& path, uint64_t fingerprint, const TrainState& state) {
  std::vector<std::byte> bytes;
  put(bytes, kMagic);
  put(bytes, fingerprint);
  put(bytes, state.step);
  put(bytes, state.steps);
  put(bytes, state.draws);
  put(bytes, state.mean);
  put_floats(bytes, state.values);
  put_floats(bytes, state.adam_mean);
  put_floats(bytes, state.adam_square);
  put(bytes, state.rounding.bits);
  put_floats(bytes, state.rounding.limits);
  put_floats(bytes, state.rounding.bias_units);
  put(bytes, static_cast<uint64_t>(state.rounding.scales.size()));
  for (const std::vector<float>& scales : state.rounding.scales) put_floats(bytes, scales);
  put(bytes, XXH3_64bits(bytes.data(), bytes.size()));
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

std::optional<TrainState> read_checkpoint(const std::string& path, uint64_t fingerprint, size_t values) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::nullopt;
  const MappedFile file(path);
  const std::span<const std::byte> all = file.bytes();
  uint64_t sum = 0;
  if (all.size() < 32) fail(ErrorCode::format, "{}: too short for a checkpoint", path);
  std::memcpy(&sum, all.data() + all.size() - 8, 8);
  const std::span<const std::byte> bytes = all.first(all.size() - 8);
  ByteReader reader(bytes, path);
  if (reader.read<uint64_t>("the magic number") != kMagic || sum != XXH3_64bits(bytes.data(), bytes.size()))
    fail(ErrorCode::format, "{}: not a checkpoint of a training, or damaged", path);
  if (reader.read<uint64_t>("the fingerprint") != fingerprint) {
    fail(ErrorCode::invalid_argument,
         "{}: a checkpoint of another training (remove it, or name another --checkpoint)", path);
  }
  TrainState state;
  state.step = reader.read<uint32_t>("the step");
  state.steps = reader.read<uint32_t>("the steps");
  state.draws = reader.read<uint64_t>("the draws");
  state.mean = reader.read<double>("the error");
  state.values = take_floats(reader);
  state.adam_mean = take_floats(reader);
  state.adam_square = take_floats(reader);
  state.rounding.bits = reader.read<uint32_t>("the bits");
  state.rounding.limits = take_floats(reader);
  state.rounding.bias_units = take_floats(reader);
  const uint64_t parts = reader.count(8, "the number of scales");
  for (uint64_t i = 0; i < parts; ++i) state.rounding.scales.push_back(take_floats(reader));
  if (state.values.size() != values || state.adam_mean.size() != values || state.adam_square.size() != values)
    fail(ErrorCode::format, "{}: its lists do not fit the network", path);
  return state;
}

}  // namespace cairn::video
