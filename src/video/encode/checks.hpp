// What an encoding can be refused for before it begins.
#pragma once

#include <string>

#include "video/encode/encode.hpp"

namespace cairn::video {

uint32_t scale_of(Mode mode);  // 1 of `automatic`
double usual_crf(Codec codec);

// Whether grey is to be coded as 4:2:0 without colour: decoders show x264's grey as that, SVT-AV1 takes none.
bool grey_as_420(const EncodeOptions& options);

// Errors: invalid_argument (an output that is an input), io (a checkpoint that cannot be written).
void check_outputs(const std::string& input, const std::string& output, const EncodeOptions& options);
// Opens the coder as the work will first. Errors: Coder's.
// Removes the files of trainings whose result is there now. checkpoint: EncodeOptions'.
void remove_checkpoints(const std::string& checkpoint);

void check_coder(const VideoInfo& info, const EncodeOptions& options);

}  // namespace cairn::video
