// Which patches of a clip a network is trained on: STDO's chunks and JSTDO's choice (arXiv 2303.08331).
#pragma once

#include <vector>

#include "video/encode/clip.hpp"
#include "video/train/training_set.hpp"

namespace cairn::video {

// PSNR of each patch as the general network leaves it: low where it is hard.
using PatchScores = std::vector<std::vector<float>>;  // [frame][patch]
PatchScores score_patches(Clip& clip, const SmallVideo& small);

// Chunks of equally many patches by score, number 0 the hardest.
Labels label_chunks(const PatchScores& scores, const SmallVideo& small, uint32_t chunks);

// Gives `set`, made by Clip::training_set() of the frames `labels` begin with, the labels of the frames it
// holds.
void label_set(TrainingSet& set, const Labels& labels);

// JSTDO: labels the set, which holds frames of `range`, and says which of its patches one network is trained
// on: the hardest quarter, half of the two in the middle, none of the easiest.
Sampling harder_patches(TrainingSet& set, const PatchScores& scores, const SmallVideo& small,
                        const FrameRange& range);

}  // namespace cairn::video
