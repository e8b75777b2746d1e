// What libcairn_video.so does for each command of `cairn video`. All throw cairn::Error on failure.
#pragma once

#include "cli/video/flags/flags.hpp"

namespace cairn::cli {

void run_encode(EncodeFlags& flags);
void run_inspect(InspectFlags& flags);
void run_decode(DecodeFlags& flags);
void run_compare(CompareFlags& flags);
void run_play(PlayFlags& flags);
void run_work(WorkFlags& flags);
void run_join(JoinFlags& flags);
void run_publish(PublishFlags& flags);
void run_live(LiveFlags& flags);

}  // namespace cairn::cli
