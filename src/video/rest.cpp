#include "video/rest.hpp"

#include <strings.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.hpp"
#include "base/interrupt.hpp"

namespace cairn::video {
namespace {

// Of an mp4's whole file; ffmpeg leaves them out too.
constexpr std::array<const char*, 3> kOfTheProgram = {"company_name", "product_name", "product_version"};
// Of the pictures as they were coded before; mkvmerge's statistics are the last three. How tags begin.
constexpr std::array<const char*, 5> kOfTheCoding = {"encoder", "duration", "_STATISTICS_", "BPS",
                                                     "NUMBER_OF_"};

struct Picture {
  AVCodecID codec;
  const char *type, *name;
};
constexpr std::array<Picture, 6> kPictures = {{{AV_CODEC_ID_MJPEG, "image/jpeg", "cover.jpg"},
                                               {AV_CODEC_ID_PNG, "image/png", "cover.png"},
                                               {AV_CODEC_ID_GIF, "image/gif", "cover.gif"},
                                               {AV_CODEC_ID_TIFF, "image/tiff", "cover.tif"},
                                               {AV_CODEC_ID_WEBP, "image/webp", "cover.webp"},
                                               {AV_CODEC_ID_BMP, "image/bmp", "cover.bmp"}}};

const Picture* picture_of(AVCodecID codec) {
  const auto* found = std::ranges::find(kPictures, codec, &Picture::codec);
  return found == kPictures.end() ? nullptr : found;
}

std::string called(const AVStream& stream) {
  const char* kind = av_get_media_type_string(stream.codecpar->codec_type);
  const std::string language = tag(stream.metadata, "language");
  return fmt::format("track {} ({} {}{})", stream.index, kind == nullptr ? "unknown" : kind,
                     avcodec_get_name(stream.codecpar->codec_id), language.empty() ? "" : ", " + language);
}

void drop_coding(AVDictionary*& tags) {
  std::vector<std::string> keys;
  const AVDictionaryEntry* entry = nullptr;
  while ((entry = av_dict_get(tags, "", entry, AV_DICT_IGNORE_SUFFIX)) != nullptr) {
    const std::string key = entry->key;
    if (std::ranges::any_of(kOfTheCoding, [&](const char* name) {
          return strncasecmp(key.c_str(), name, std::strlen(name)) == 0;
        }))
      keys.push_back(key);
  }
  for (const std::string& key : keys) av_dict_set(&tags, key.c_str(), nullptr, 0);
}

// Where several tracks of a kind are there and none is marked, the first is, as ffmpeg does.
void mark_defaults(AVFormatContext& file) {
  for (const AVMediaType type : {AVMEDIA_TYPE_VIDEO, AVMEDIA_TYPE_AUDIO, AVMEDIA_TYPE_SUBTITLE}) {
    AVStream* first = nullptr;
    int count = 0;
    bool marked = false;
    for (unsigned i = 0; i < file.nb_streams; ++i) {
      AVStream& stream = *file.streams[i];
      if (stream.codecpar->codec_type != type) continue;
      if (count++ == 0) first = &stream;
      marked = marked || (stream.disposition & AV_DISPOSITION_DEFAULT) != 0;
    }
    if (count > 1 && !marked) first->disposition |= AV_DISPOSITION_DEFAULT;
  }
}

}  // namespace

Rest::Rest(const std::string& from, const Keep& keep) : name_(from), keep_(keep), source_(from) {
  packet_.reset(av_packet_alloc());
  if (packet_ == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory", from);
  tracks_.resize(source_.file().nb_streams);
  for (unsigned i = 0; i < source_.file().nb_streams; ++i) fates_.push_back(plan(static_cast<int>(i), keep));
}

Rest::Fate Rest::plan(int index, const Keep& keep) {
  const AVStream& stream = source_.stream(index);
  const AVCodecParameters& p = *stream.codecpar;
  const auto leave = [&](const char* why) {
    notes_.push_back(fmt::format("{}: {}: left out, {}", name_, called(stream), why));
    return Fate::leave;
  };
  if (index == source_.video()) return Fate::video;
  if (is_cover(stream)) {
    if (!keep.attachments) return Fate::leave;
    return stream.attached_pic.size > 0 && picture_of(p.codec_id) != nullptr
               ? Fate::attach
               : leave("a cover that Matroska cannot hold");
  }
  if (p.codec_type == AVMEDIA_TYPE_ATTACHMENT) {
    const bool ours = tag(stream.metadata, "mimetype") == kAttachmentType ||
                      tag(stream.metadata, "filename") == kAttachmentName;
    return ours || !keep.attachments ? Fate::leave : Fate::attach;
  }
  if ((p.codec_type == AVMEDIA_TYPE_AUDIO && !keep.audio) ||
      (p.codec_type == AVMEDIA_TYPE_SUBTITLE && !keep.subtitles))
    return Fate::leave;
  if (p.codec_type == AVMEDIA_TYPE_DATA || p.codec_type == AVMEDIA_TYPE_UNKNOWN)
    return leave("Matroska holds no such data");
  if (matroska_holds(stream)) return Fate::copy;
  Track& track = tracks_[static_cast<size_t>(index)];
  if (p.codec_type == AVMEDIA_TYPE_AUDIO) track.transcoder = audio_transcoder(stream);
  if (p.codec_type == AVMEDIA_TYPE_SUBTITLE) track.transcoder = subtitle_transcoder(stream);
  if (track.transcoder == nullptr) return leave("Matroska cannot hold it");
  notes_.push_back(fmt::format("{}: {}: written as {}, Matroska cannot hold it as it is", name_,
                               called(stream), track.transcoder->codec()));
  return Fate::transcode;
}

AVStream& Rest::declare(Muxer& muxer) {
  AVFormatContext &from = source_.file(), &to = muxer.file();
  AVStream* pictures = nullptr;
  for (unsigned i = 0; i < from.nb_streams; ++i) {
    const AVStream& stream = *from.streams[i];
    if (fates_[i] == Fate::attach) attach(muxer, stream);
    if (fates_[i] == Fate::attach || fates_[i] == Fate::leave) continue;
    AVStream& track = muxer.add_stream();
    if (fates_[i] == Fate::video) {
      pictures = &track;
      track.codecpar->codec_type = AVMEDIA_TYPE_VIDEO;
    } else if (fates_[i] == Fate::copy) {
      if (avcodec_parameters_copy(track.codecpar, stream.codecpar) < 0)
        fail(ErrorCode::out_of_memory, "{}: no memory for a track", name_);
      track.codecpar->codec_tag = 0;
      track.time_base = stream.time_base;
      track.avg_frame_rate = stream.avg_frame_rate;
      track.sample_aspect_ratio = stream.sample_aspect_ratio;
      for (const AVPacketSideDataType type :
           {AV_PKT_DATA_MASTERING_DISPLAY_METADATA, AV_PKT_DATA_CONTENT_LIGHT_LEVEL, AV_PKT_DATA_STEREO3D,
            AV_PKT_DATA_SPHERICAL}) {
        const auto bytes = side_data_of(stream, type);
        if (!bytes.empty() && side_data_of(track, type).empty()) add_side_data(track, type, bytes);
      }
    } else {
      tracks_[i].transcoder->describe(track);
    }
    tracks_[i].to = fates_[i] == Fate::video ? -1 : track.index;
    track.disposition = stream.disposition;
    if (keep_.tags) {
      av_dict_copy(&track.metadata, stream.metadata, 0);
      if (fates_[i] != Fate::copy) drop_coding(track.metadata);
    } else if (const std::string language = tag(stream.metadata, "language"); !language.empty()) {
      av_dict_set(&track.metadata, "language", language.c_str(), 0);
    }
  }
  if (pictures == nullptr) fail(ErrorCode::format, "{}: it has no video track", name_);
  mark_defaults(to);
  if (keep_.tags) {
    av_dict_copy(&to.metadata, from.metadata, 0);
    for (const char* name : kOfTheProgram) av_dict_set(&to.metadata, name, nullptr, 0);
    av_dict_set(&to.metadata, "encoder", nullptr, 0);
  }
  if (keep_.chapters) copy_chapters(to);
  return *pictures;
}

void Rest::attach(Muxer& muxer, const AVStream& stream) const {
  const AVCodecParameters& p = *stream.codecpar;
  std::string name = tag(stream.metadata, "filename"), type = tag(stream.metadata, "mimetype");
  std::span<const uint8_t> bytes(p.extradata, static_cast<size_t>(p.extradata_size));
  if (is_cover(stream)) {
    const Picture& picture = *picture_of(p.codec_id);
    bytes = {stream.attached_pic.data, static_cast<size_t>(stream.attached_pic.size)};
    if (name.empty()) name = picture.name;
    if (type.empty()) type = picture.type;
  }
  if (name.empty()) name = fmt::format("attachment{}", stream.index);
  if (type.empty()) type = p.codec_id == AV_CODEC_ID_OTF ? "font/otf" : "application/octet-stream";
  muxer.add_attachment(bytes, name, type, stream.metadata);
}

void Rest::copy_chapters(AVFormatContext& to) const {
  const AVFormatContext& from = source_.file();
  for (unsigned i = 0; i < from.nb_chapters; ++i) {
    const AVChapter& chapter = *from.chapters[i];
    const auto start = static_cast<int64_t>(std::llround(source_.start() / av_q2d(chapter.time_base)));
    if (chapter.end < start) continue;
    auto* copy = static_cast<AVChapter*>(av_mallocz(sizeof(AVChapter)));
    void* room = av_realloc_array(to.chapters, to.nb_chapters + 1, sizeof(AVChapter*));
    if (room != nullptr) to.chapters = static_cast<AVChapter**>(room);
    if (copy == nullptr || room == nullptr) {
      av_free(copy);
      fail(ErrorCode::out_of_memory, "{}: no memory for chapters", name_);
    }
    copy->id = chapter.id;
    copy->time_base = chapter.time_base;
    copy->start = std::max<int64_t>(0, chapter.start - start);
    copy->end = std::max(copy->start, chapter.end - start);
    av_dict_copy(&copy->metadata, chapter.metadata, 0);
    to.chapters[to.nb_chapters++] = copy;
  }
}

void Rest::copy(Muxer& muxer, double until) {
  while (!ended_) {
    throw_if_interrupted();
    if (!waits_ && source_.read(*packet_) < 0) {
      ended_ = true;
      for (Track& track : tracks_) {
        if (track.transcoder == nullptr) continue;
        track.transcoder->finish(
            [&](AVPacket& made) { muxer.write(made, track.transcoder->time_base(), track.to); });
      }
      tell_failures();
      return;
    }
    waits_ = true;
    const auto index = static_cast<size_t>(packet_->stream_index);
    if (index < tracks_.size() && tracks_[index].to >= 0) {
      const int64_t stamp = packet_->dts != AV_NOPTS_VALUE ? packet_->dts : packet_->pts;
      const AVRational base = source_.stream(packet_->stream_index).time_base;
      if (stamp != AV_NOPTS_VALUE && static_cast<double>(stamp) * av_q2d(base) > until) return;
      write(muxer, *packet_);
    }
    av_packet_unref(packet_.get());
    waits_ = false;
  }
}

void Rest::write(Muxer& muxer, AVPacket& packet) {
  const AVStream& stream = source_.stream(packet.stream_index);
  Track& track = tracks_[static_cast<size_t>(packet.stream_index)];
  if (track.transcoder != nullptr) {
    track.transcoder->put(
        packet, [&](AVPacket& made) { muxer.write(made, track.transcoder->time_base(), track.to); });
    return;
  }
  // A video begins with a picture that needs no other.
  if (!track.began && stream.codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
      (packet.flags & AV_PKT_FLAG_KEY) == 0)
    return;
  track.began = true;
  muxer.write(packet, stream.time_base, track.to);
}

void Rest::tell_failures() {
  for (size_t i = 0; i < tracks_.size(); ++i) {
    const uint64_t count = tracks_[i].transcoder == nullptr ? 0 : tracks_[i].transcoder->failures();
    if (count == 0) continue;
    notes_.push_back(fmt::format("{}: {}: {} packet{} could not be decoded", name_,
                                 called(source_.stream(static_cast<int>(i))), count, count == 1 ? "" : "s"));
  }
}

}  // namespace cairn::video
