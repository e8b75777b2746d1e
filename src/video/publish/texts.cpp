#include <algorithm>
#include <cmath>
#include <memory>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "video/publish/beside.hpp"
#include "video/source.hpp"
#include "video/transcoder.hpp"

namespace cairn::video {
namespace {

// hh:mm:ss.ttt
std::string stamp(int64_t milliseconds) {
  return fmt::format("{:02}:{:02}:{:02}.{:03}", milliseconds / 3600000, milliseconds / 60000 % 60,
                     milliseconds / 1000 % 60, milliseconds % 1000);
}

struct Text {
  std::unique_ptr<Transcoder> transcoder;
  std::string vtt = "WEBVTT\n\n";
  PublishedText told;
};

// A cue's text holds no blank line and no arrow (WebVTT, W3C, section 4.1).
std::string cue_text(std::string text) {
  for (size_t at; (at = text.find("-->")) != std::string::npos;) text.replace(at, 3, "->");
  for (size_t at; (at = text.find("\r")) != std::string::npos;) text.erase(at, 1);
  for (size_t at; (at = text.find("\n\n")) != std::string::npos;) text.erase(at, 1);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\0')) text.pop_back();
  return text;
}

}  // namespace

std::vector<PublishedText> publish_texts(const std::string& from, double origin, double seconds, OutputFolder& to,
                                         std::vector<std::string>& notes) {
  Source source(from);
  std::vector<Text> texts(source.file().nb_streams);
  size_t count = 0;
  for (unsigned i = 0; i < source.file().nb_streams; ++i) {
    const AVStream& stream = source.stream(static_cast<int>(i));
    if (stream.codecpar->codec_type != AVMEDIA_TYPE_SUBTITLE) continue;
    texts[i].transcoder = webvtt_transcoder(stream);
    if (texts[i].transcoder == nullptr) {
      notes.push_back(fmt::format("{}: track {} (subtitle {}): left out, it is no text", from, i,
                                  avcodec_get_name(stream.codecpar->codec_id)));
      continue;
    }
    texts[i].told = {fmt::format("text{}.vtt", count++), tag(stream.metadata, "language"),
                     tag(stream.metadata, "title"), (stream.disposition & AV_DISPOSITION_DEFAULT) != 0};
  }
  std::vector<PublishedText> told;
  if (count == 0) return told;
  const Libav<AVPacket> packet(av_packet_alloc());
  if (packet == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory", from);
  while (source.read(*packet) >= 0) {
    throw_if_interrupted();
    const auto index = static_cast<size_t>(packet->stream_index);
    if (index < texts.size() && texts[index].transcoder != nullptr) {
      Text& text = texts[index];
      text.transcoder->put(*packet, [&](AVPacket& cue) {
        const auto shift = static_cast<int64_t>(std::llround(origin * 1000));
        const int64_t begin = std::max<int64_t>(cue.pts - shift, 0), end = cue.pts - shift + cue.duration;
        if (end <= begin) return;
        text.vtt += fmt::format("{} --> {}\n{}\n\n", stamp(begin), stamp(end),
                                cue_text({reinterpret_cast<const char*>(cue.data), static_cast<size_t>(cue.size)}));
      });
    }
    av_packet_unref(packet.get());
  }
  for (Text& text : texts) {
    if (text.transcoder == nullptr) continue;
    to.write(text.told.file, text.vtt);
    to.write(text.told.file + ".m3u8", hls_text_playlist(text.told, seconds));
    told.push_back(text.told);
  }
  return told;
}

}  // namespace cairn::video
