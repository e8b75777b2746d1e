// A cairn video against the original it was made from: whole frames, seams included.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "video/container.hpp"
#include "video/picture.hpp"
#include "video/restore.hpp"

namespace cairn::video {

// PSNR from the mean of squared errors over all frames; SSIM and MS-SSIM the mean over frames.
struct Scores {
  double psnr_y = 0, psnr_rgb = 0, ssim_y = 0, ms_ssim_y = 0;
  std::optional<double> vmaf;  // where libvmaf is found
  std::vector<double> frame_psnr_y;
};

struct Crop {
  uint64_t frame = 0;
  Picture original, restored, lanczos;
};

struct Comparison {
  FileBytes bytes;
  uint64_t frames = 0;
  double seconds = 0;  // of video
  Format format;
  uint32_t scale = 1;
  std::string codec;
  std::vector<std::string> networks;  // names
  std::string no_vmaf;                // why there is no VMAF
  Scores restored, lanczos;           // lanczos: the small video upscaled without networks
  // Mean squared error of luma, patch by patch over all frames.
  uint32_t patch_side = 32, patch_columns = 0, patch_rows = 0;
  std::vector<double> patches;
  std::vector<Crop> crops;  // where asked for
  // Where the two differ in what they hold beside the pictures, and what of these was damaged: a line each.
  std::vector<std::string> warnings;
};

struct CompareOptions {
  RestoreOptions restore;
  uint64_t frames = 0;  // at most so many; 0: all
  bool crops = false;
  bool keep_going = false;  // what is broken is passed over and counted
};

// Frames are paired by number, upright; the original may be a cairn video as well. Errors: those of
// RestoredReader; format where the sizes, depths or numbers of frames differ.
Comparison compare(const std::string& original, const std::string& coded, const CompareOptions& options,
                   const std::function<void(uint64_t done, uint64_t of)>& progress = {});

// One self-contained page: figures, PSNR over frames, the patches' heat map, crops with a slider.
std::string comparison_html(const Comparison& comparison, const std::string& title);

}  // namespace cairn::video
