// What is published beside the pictures: sound in segments of its own, subtitles as WebVTT.
#pragma once

#include <string>
#include <vector>

#include "video/publish/output_folder.hpp"
#include "video/publish/published.hpp"

namespace cairn::video {

// Every audio track: AAC and Opus as they are, others as Opus. origin: seconds of the file at which time 0 is;
// cuts: seconds from there at which segments begin, without 0. notes: what is changed or left out.
std::vector<PublishedTrack> publish_sound(const std::string& from, double origin, const std::vector<double>& cuts,
                                          OutputFolder& to, std::vector<std::string>& notes);
// Every text track: N.vtt and its HLS playlist. seconds: how long the video is.
std::vector<PublishedText> publish_texts(const std::string& from, double origin, double seconds, OutputFolder& to,
                                         std::vector<std::string>& notes);

}  // namespace cairn::video
