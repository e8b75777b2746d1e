// A restoration as a shader that mpv, and others on libplacebo, run on the small video's planes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "video/attachment.hpp"
#include "video/frame.hpp"

namespace cairn::video {

// Textures that mpv lets one pass read.
constexpr uint32_t kMostTextures = 16;

// What restores the frames where nobody knows a frame's number: networks, and where several restore one frame
// (STDO's chunks), which of them each patch most often has.
struct Still {
  std::vector<uint32_t> networks;  // numbers of luma networks, one for each label
  std::vector<uint8_t> labels;     // [rows][columns] of the restoration's labels; empty: networks[0] all over
  double share = 1;                // of patches in time, or of frames, that have these networks
};
// network: the one that was asked for; none: the one of most frames, or labels. frames: of the video, 0 where
// it is not known. Error invalid_argument: there is no such network.
Still stand_still(const Restoration& restoration, std::optional<uint32_t> network, uint64_t frames);

// The network that restores most of it.
uint32_t most_used(const Still& still);

// The text of the shader, in mpv's language of hooks: passes on LUMA, and on CHROMA where the restored frame
// is larger than the small one (or cut). Activations are stored as shares of their ranges, so that every
// --fbo-format serves. small, siting: the small video's, as Colour::siting. Errors: unsupported, with the
// reason (networks that see other frames, add layers or run on the upscaled frame; too many channels).
std::string write_shader(const Restoration& restoration, const Still& still, const Format& small, int siting);

}  // namespace cairn::video
