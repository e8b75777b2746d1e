// Further networks for the scenes of a clip, where they pay.
#pragma once

#include <optional>

#include "video/encode/networks.hpp"

namespace cairn::video {

// How far a weight must want to go, beyond half a step of its grid, before it leaves its start.
constexpr float kSceneReluctance = 0.25f;
constexpr double kSceneShare = 0.5;  // of the clip's network's steps: these begin from a trained one

struct ScenePrice {
  double slope = 0;                // dB that the codec gives for e times the bytes: what a network must beat
  std::optional<uint64_t> budget;  // bytes of the picture, at most
};

// `networks` holds one network for the whole clip. Scene by scene, those with the largest error first,
// another is trained, begun from the one that serves the scene so far and coded as what differs from it;
// every scene of the clip then takes whichever of all networks restores it best, so that one serves all that
// look alike. It stays if its gain is above its price; after two that don't, the search ends. At most
// options.scenes are added.
void add_scene_networks(Clip& clip, const SmallVideo& small, Overfitted& networks, const ScenePrice& price,
                        const EncodeOptions& options, const EncodeProgress& progress, ThreadPool& pool);

}  // namespace cairn::video
