// encode_labels() and decode_labels(): a label is coded as "as in the frame before", or anew.
#include <algorithm>

#include "video/attachment.hpp"
#include "video/bytes.hpp"
#include "video/range_coder.hpp"

namespace cairn::video {
namespace {

// No label costs less than about 2⁻¹² of a bit, as often as models halve their counts.
constexpr uint64_t kMostLabelsPerByte = 1u << 15;

// The order and the contexts, the same both ways.
class Walk {
 public:
  Walk(uint32_t columns, size_t patches, uint32_t networks)
      : columns_(columns),
        changed_(3, AdaptiveModel::even(2)),
        value_(networks, AdaptiveModel::even(networks)),
        changes_(patches) {}

  // code(model, symbol) returns the symbol that it coded, or found.
  template <class Code>
  void frame(std::vector<uint8_t>& frame, const Code& code) {
    for (uint32_t p = 0; p < frame.size(); ++p) {
      const bool left = p % columns_ != 0, up = p >= columns_;
      if (!before_.empty()) {
        const uint32_t context = (left ? changes_[p - 1] : 0u) + (up ? changes_[p - columns_] : 0u);
        changes_[p] = static_cast<uint8_t>(code(changed_[context], frame[p] != before_[p] ? 1u : 0u));
        if (changes_[p] == 0) {
          frame[p] = before_[p];
          continue;
        }
      }
      const uint32_t context = left ? frame[p - 1] : up ? frame[p - columns_] : 0;
      frame[p] = static_cast<uint8_t>(code(value_[context], frame[p]));
    }
    before_ = frame;
  }

 private:
  uint32_t columns_;
  std::vector<AdaptiveModel> changed_;  // by how many of the left and upper neighbours changed
  std::vector<AdaptiveModel> value_;    // by the label to the left, or above
  std::vector<uint8_t> before_, changes_;
};

}  // namespace

std::vector<std::byte> encode_labels(const Labels& labels, uint32_t networks) {
  std::vector<std::byte> bytes;
  put_varint(bytes, labels.patch_width);
  put_varint(bytes, labels.patch_height);
  put_varint(bytes, labels.frames.size());
  RangeEncoder coder;
  Walk walk(labels.columns, static_cast<size_t>(labels.columns) * labels.rows, networks);
  for (std::vector<uint8_t> frame : labels.frames) {
    walk.frame(frame, [&](AdaptiveModel& model, uint32_t symbol) {
      model.encode(coder, symbol);
      return symbol;
    });
  }
  const std::vector<std::byte> coded = coder.finish();
  bytes.insert(bytes.end(), coded.begin(), coded.end());
  return bytes;
}

Labels decode_labels(std::span<const std::byte> bytes, uint32_t small_width, uint32_t small_height,
                     uint32_t networks, const std::string& what) {
  ByteReader reader(bytes, what);
  Labels labels;
  const uint64_t width = take_varint(reader, "a patch's width"),
                 height = take_varint(reader, "a patch's height"),
                 frames = take_varint(reader, "the labels' frames");
  if (width < 4 || height < 4 || width > 65535 || height > 65535)
    fail(ErrorCode::format, "{}: patches of {}×{} (4 … 65535)", what, width, height);
  labels.patch_width = static_cast<uint32_t>(width);
  labels.patch_height = static_cast<uint32_t>(height);
  labels.columns = (small_width + labels.patch_width - 1) / labels.patch_width;
  labels.rows = (small_height + labels.patch_height - 1) / labels.patch_height;
  const uint64_t each = static_cast<uint64_t>(labels.columns) * labels.rows;
  if (frames > (bytes.size() + 16) * kMostLabelsPerByte / std::max<uint64_t>(each, 1))
    fail(ErrorCode::format, "{}: labels of {} frames of {} patches in {} bytes", what, frames, each,
         bytes.size());
  RangeDecoder coder(reader.take(reader.remaining(), "labels"));
  Walk walk(labels.columns, each, networks);
  // Memory grows with what is decoded: a lie about the number of frames ends at the overrun.
  for (uint64_t f = 0; f < frames && !coder.overrun(); ++f) {
    labels.frames.emplace_back(each);
    walk.frame(labels.frames.back(), [&](AdaptiveModel& model, uint32_t) { return model.decode(coder); });
  }
  if (coder.overrun()) fail(ErrorCode::format, "{}: truncated: its labels go on beyond its end", what);
  return labels;
}

}  // namespace cairn::video
