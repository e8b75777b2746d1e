#include "measure/calibrate_checkpoint.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <type_traits>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "base/mapped_file.hpp"
#include "base/sha256.hpp"
#include "quantize/calibration_file.hpp"

namespace cairn::measure {
namespace {

constexpr std::string_view kMagic = "cairn calibration checkpoint 2\n";
constexpr size_t kDigest = 64;

template <class T>
concept Plain = std::is_trivially_copyable_v<T>;

// Writes a state piece by piece.
class Pack {
 public:
  explicit Pack(std::string& out) : out_(out) {}
  template <Plain T>
  bool value(T& value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return true;
  }
  // Without the zeros at both ends: most of a histogram is empty.
  template <Plain T>
  bool list(std::vector<T>& values) {
    const auto some = [](const T& value) { return value != T{}; };
    const auto begin = std::find_if(values.begin(), values.end(), some);
    const auto end = std::find_if(values.rbegin(), std::make_reverse_iterator(begin), some).base();
    std::array<uint64_t, 3> header = {values.size(), static_cast<uint64_t>(begin - values.begin()),
                                      static_cast<uint64_t>(end - begin)};
    value(header);
    if (begin != end) out_.append(reinterpret_cast<const char*>(&*begin), header[2] * sizeof(T));
    return true;
  }
  // A list whose length the reader does not know.
  template <Plain T>
  bool growing(std::vector<T>& values) {
    uint64_t size = values.size();
    value(size);
    for (T& each : values) value(each);
    return true;
  }

 private:
  std::string& out_;
};

// The same pieces, read; false where they do not fit.
class Unpack {
 public:
  Unpack(const std::string& in, size_t& next) : in_(in), next_(next) {}
  template <Plain T>
  bool value(T& value) {
    if (in_.size() - next_ < sizeof value) return false;
    std::memcpy(&value, in_.data() + next_, sizeof value);
    next_ += sizeof value;
    return true;
  }
  template <Plain T>
  bool list(std::vector<T>& values) {
    std::array<uint64_t, 3> header;
    if (!value(header) || header[0] != values.size() || header[1] > header[0] ||
        header[2] > header[0] - header[1] || header[2] > (in_.size() - next_) / sizeof(T)) {
      return false;
    }
    std::fill(values.begin(), values.end(), T{});
    if (header[2] > 0) std::memcpy(values.data() + header[1], in_.data() + next_, header[2] * sizeof(T));
    next_ += header[2] * sizeof(T);
    return true;
  }
  template <Plain T>
  bool growing(std::vector<T>& values) {
    uint64_t size = 0;
    if (!value(size) || size > 4096) return false;
    values.resize(size);
    return std::all_of(values.begin(), values.end(), [this](T& each) { return value(each); });
  }

 private:
  const std::string& in_;
  size_t& next_;
};

template <class Archive>
bool exchange(Archive& archive, CalibrateState& state) {
  bool good = archive.value(state.stage) && archive.value(state.done) && archive.value(state.seen) &&
              archive.value(state.calibration.cost_tokens) && archive.growing(state.calibration.whole);
  quantize::for_each_tensor(state.calibration, [&](const std::string&, const std::vector<uint64_t>&, auto get,
                                                   quantize::Input input) {
    std::vector<float> values;
    quantize::for_each_record(state.calibration, input, [&](quantize::InputRecord& record) {
      get(record, [&](float& value) { values.push_back(value); });
    });
    good = good && archive.list(values);
    size_t next = 0;
    quantize::for_each_record(state.calibration, input, [&](quantize::InputRecord& record) {
      get(record, [&](float& value) { value = values[next++]; });
    });
  });
  return good;
}

template <class Archive, class Collector>
bool exchange_collector(Archive& archive, Collector& collector) {
  bool good = true;
  collector.for_each_state([&](auto& values) { good = good && archive.list(values); });
  return good;
}

std::string digest(std::string_view text) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(text)));
  return hash.hex();
}

}  // namespace

void write_checkpoint(const std::string& path, const std::string& key, CalibrateState& state,
                      quantize::RangeCollector* ranges, quantize::OutlierCollector* outliers) {
  std::string content(kMagic);
  content += key + "\n";
  Pack pack(content);
  exchange(pack, state);
  if (ranges != nullptr) exchange_collector(pack, *ranges);
  if (outliers != nullptr) exchange_collector(pack, *outliers);
  content += digest(content);
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

std::optional<Checkpoint> Checkpoint::open(const std::string& path, const std::string& key) {
  Checkpoint result;
  try {
    const MappedFile file(path);
    result.content_.assign(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  } catch (const Error&) {
    return {};
  }
  std::string& content = result.content_;
  const std::string begin = std::string(kMagic) + key + "\n";
  if (content.size() < begin.size() + kDigest || !content.starts_with(begin)) return {};
  const std::string found = content.substr(content.size() - kDigest);
  content.resize(content.size() - kDigest);
  if (digest(content) != found) return {};
  result.next_ = begin.size();
  return result;
}

bool Checkpoint::restore(CalibrateState& state) {
  Unpack unpack(content_, next_);
  return exchange(unpack, state);
}

bool Checkpoint::restore(quantize::RangeCollector& collector) {
  Unpack unpack(content_, next_);
  return exchange_collector(unpack, collector);
}

bool Checkpoint::restore(quantize::OutlierCollector& collector) {
  Unpack unpack(content_, next_);
  return exchange_collector(unpack, collector);
}

}  // namespace cairn::measure
