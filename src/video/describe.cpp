#include "video/describe.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.hpp"
#include "video/matroska_head.hpp"
#include "video/plane_reader.hpp"

namespace cairn::video {
namespace {

constexpr uint32_t kLargestSide = 16384;

// Those of a picture that a track has as well.
constexpr std::array<std::pair<AVFrameSideDataType, AVPacketSideDataType>, 4> kOfPictures = {
    {{AV_FRAME_DATA_MASTERING_DISPLAY_METADATA, AV_PKT_DATA_MASTERING_DISPLAY_METADATA},
     {AV_FRAME_DATA_CONTENT_LIGHT_LEVEL, AV_PKT_DATA_CONTENT_LIGHT_LEVEL},
     {AV_FRAME_DATA_STEREO3D, AV_PKT_DATA_STEREO3D},
     {AV_FRAME_DATA_SPHERICAL, AV_PKT_DATA_SPHERICAL}}};

Orientation of_matrix(std::span<const uint8_t> bytes) {
  std::array<int32_t, 9> matrix{};
  if (bytes.size() < sizeof matrix) return {};
  std::memcpy(matrix.data(), bytes.data(), sizeof matrix);
  return Orientation::of_matrix(matrix);
}

Rational rational(AVRational r) {
  return {r.num, r.den};
}

bool known(AVRational r) {
  return r.num > 0 && r.den > 0;
}

}  // namespace

void describe(const Source& source, const std::string& path, const std::string& name, VideoInfo& info,
              ReaderNotes& notes) {
  AVStream& stream = source.stream(info.stream);
  const AVCodecParameters& p = *stream.codecpar;
  bool full = false;
  const AVPixelFormat pixels = without_range(static_cast<AVPixelFormat>(p.format), full);
  if (p.width < 1 || p.height < 1) fail(ErrorCode::format, "{}: its video has no size", name);
  info.format = nearest_format(pixels, p.width, p.height);
  if (info.format.width > kLargestSide || info.format.height > kLargestSide)
    fail(ErrorCode::unsupported, "{}: {}×{} (up to {} a side)", name, p.width, p.height, kLargestSide);
  notes.pixels(pixels, libav_format(info.format));
  info.colour = {p.color_space, p.color_primaries, p.color_trc, full ? 2 : p.color_range, p.chroma_location};
  if (is_rgb(pixels)) {
    info.colour.matrix = AVCOL_SPC_BT709;
    info.colour.range = AVCOL_RANGE_MPEG;
  }
  info.time_base = rational(stream.time_base);
  const AVRational guess = av_guess_frame_rate(&source.file(), &stream, nullptr),
                   mean = stream.avg_frame_rate;
  info.frame_rate = rational(known(guess) ? guess : known(mean) ? mean : AVRational{25, 1});
  info.mean_rate = known(mean) ? rational(mean) : info.frame_rate;
  const AVRational aspect = av_guess_sample_aspect_ratio(&source.file(), &stream, nullptr);
  if (known(aspect)) info.sample_aspect = rational(aspect);
  if (p.field_order == AV_FIELD_TT || p.field_order == AV_FIELD_TB) info.fields = Fields::top_first;
  if (p.field_order == AV_FIELD_BB || p.field_order == AV_FIELD_BT) info.fields = Fields::bottom_first;
  for (const auto& [picture, track] : kOfPictures) {
    const auto bytes = side_data_of(stream, track);
    if (!bytes.empty()) info.side_data.push_back({track, {bytes.begin(), bytes.end()}});
  }
  if (!side_data_of(stream, AV_PKT_DATA_DOVI_CONF).empty()) notes.left_out("Dolby Vision's layer");
  const auto matrix = side_data_of(stream, AV_PKT_DATA_DISPLAYMATRIX);
  if (!matrix.empty()) {
    info.orientation = of_matrix(matrix);
    return;
  }
  const MatroskaHead head = read_matroska_head(path);
  const auto found = head.projections.find(static_cast<unsigned>(info.stream));
  if (found != head.projections.end() && found->second.type == 0)
    info.orientation = Orientation::of_projection(found->second.yaw, found->second.roll);
}

FileLength describe_length(const Source& source, const std::string& path, VideoInfo& info) {
  const AVFormatContext& file = source.file();
  const AVStream& stream = source.stream(info.stream);
  info.frames = stream.nb_frames > 0 ? static_cast<uint64_t>(stream.nb_frames) : 0;
  if (stream.duration != AV_NOPTS_VALUE && stream.duration > 0) {
    const int64_t first = stream.start_time == AV_NOPTS_VALUE ? 0 : stream.start_time;
    info.seconds = static_cast<double>(first + stream.duration) * av_q2d(stream.time_base) - source.start();
  } else if (const std::string length = tag(stream.metadata, "DURATION"); !length.empty()) {
    int hours = 0, minutes = 0;  // Matroska, as its muxers write it: 00:00:05.280000000
    double seconds = 0;
    if (std::sscanf(length.c_str(), "%d:%d:%lf", &hours, &minutes, &seconds) == 3)
      info.seconds = hours * 3600.0 + minutes * 60.0 + seconds - source.start();
  }
  FileLength length;
  const std::optional<uint64_t> end = read_matroska_head(path).end;
  if (!end) return length;
  std::error_code ignored;
  length.broken_off =
      std::filesystem::is_regular_file(path, ignored) && std::filesystem::file_size(path, ignored) < *end;
  // Blocks of Matroska seldom tell how long they stand, the file tells for the last one. Tags that another
  // program left may lie: the file's own length bounds them.
  if (!length.broken_off && info.seconds && file.duration != AV_NOPTS_VALUE)
    length.until = std::min(*info.seconds, static_cast<double>(file.duration) / AV_TIME_BASE + 1e-3);
  return length;
}

void learn(const Source& source, const AVFrame& first, VideoInfo& info) {
  bool full = false;
  const AVPixelFormat pixels = without_range(static_cast<AVPixelFormat>(first.format), full);
  Colour& c = info.colour;
  if (!is_rgb(pixels)) {
    if (c.matrix == AVCOL_SPC_UNSPECIFIED) c.matrix = first.colorspace;
    if (c.primaries == AVCOL_PRI_UNSPECIFIED) c.primaries = first.color_primaries;
    if (c.transfer == AVCOL_TRC_UNSPECIFIED) c.transfer = first.color_trc;
    if (c.range == AVCOL_RANGE_UNSPECIFIED) c.range = full ? AVCOL_RANGE_JPEG : first.color_range;
    if (c.siting == AVCHROMA_LOC_UNSPECIFIED) c.siting = first.chroma_location;
    // What is grey alone has all values unless it says otherwise, to libav as well.
    if (c.range == AVCOL_RANGE_UNSPECIFIED && nearest_format(pixels, 1, 1).chroma == Chroma::none)
      c.range = AVCOL_RANGE_JPEG;
  }
  // Matroska counts the shown picture in whole pixels, which bends its shape a little.
  const AVRational own = first.sample_aspect_ratio, shown = source.stream(info.stream).sample_aspect_ratio;
  if (known(own) && (!known(shown) || std::abs(av_q2d(own) - av_q2d(shown)) * info.format.width < 1))
    info.sample_aspect = rational(own);
  if (is_interlaced(first) && info.fields == Fields::progressive)
    info.fields = top_field_first(first) ? Fields::top_first : Fields::bottom_first;
  for (const auto& [picture, track] : kOfPictures) {
    const AVFrameSideData* found = av_frame_get_side_data(&first, picture);
    const int type = track;
    if (found == nullptr || std::ranges::any_of(info.side_data, [&](auto& s) { return s.type == type; }))
      continue;
    info.side_data.push_back({track, {found->data, found->data + found->size}});
  }
  if (const AVFrameSideData* matrix = av_frame_get_side_data(&first, AV_FRAME_DATA_DISPLAYMATRIX);
      matrix != nullptr && info.orientation.upright())
    info.orientation = of_matrix({matrix->data, matrix->size});
}

}  // namespace cairn::video
