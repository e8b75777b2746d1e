#include "video/export/shader.hpp"

#include <algorithm>
#include <span>

#include "base/error.hpp"
#include "video/libav.hpp"

namespace cairn::video {
namespace {

constexpr const char* kXyzw = "xyzw";

uint32_t quads(uint32_t channels) {
  return (channels + 3) / 4;
}

std::string vec4(std::span<const double, 4> v) {
  return fmt::format("vec4({:.7g}, {:.7g}, {:.7g}, {:.7g})", v[0], v[1], v[2], v[3]);
}

// Where one plane's passes run.
struct Site {
  const char* hook;                // LUMA, CHROMA
  uint32_t width, height;          // of the small plane
  uint32_t out_width, out_height;  // of the restored one
  uint32_t scale;
  double shift_x = 0, shift_y = 0;  // of the restored plane, in its samples, as //!OFFSET has it
};

struct Extent {
  uint32_t times = 1;
  int64_t more = 0;
};

// The lines that begin a pass. reads: textures beside HOOKED; saved: empty for what replaces the plane.
std::string head_of(const Site& site, const std::string& what, const std::vector<std::string>& reads,
                    const std::string& saved, Extent width, Extent height) {
  std::string text = fmt::format("\n//!DESC cairn: {}\n//!HOOK {}\n//!BIND HOOKED\n", what, site.hook);
  for (const std::string& texture : reads) text += fmt::format("//!BIND {}\n", texture);
  if (!saved.empty()) text += fmt::format("//!SAVE {}\n//!COMPONENTS 4\n", saved);
  const auto size = [](const char* axis, const Extent& extent) {
    std::string expression = fmt::format("HOOKED.{}", axis);
    if (extent.times != 1) expression += fmt::format(" {} *", extent.times);
    if (extent.more != 0)
      expression += fmt::format(" {} {}", std::abs(extent.more), extent.more > 0 ? '+' : '-');
    return expression;
  };
  if (width.times != 1 || width.more != 0) text += fmt::format("//!WIDTH {}\n", size("w", width));
  if (height.times != 1 || height.more != 0) text += fmt::format("//!HEIGHT {}\n", size("h", height));
  return text + fmt::format("//!WHEN HOOKED.w {} = HOOKED.h {} = *\n", site.width, site.height);
}

// One network on one component of a plane. Layers' textures reach `margin` pixels beyond the plane on each
// side, since layers see beyond its edges what the first one made of repeated samples.
class Passes {
 public:
  Passes(const Site& site, const Network& network, std::string prefix, char component, std::string what)
      : site_(site),
        network_(network),
        prefix_(std::move(prefix)),
        component_(component),
        what_(std::move(what)) {
    for (size_t i = 1; i < network.layers.size(); ++i) margin_ += network.layers[i].kernel / 2;
  }

  // The textures of the phases, four in each.
  std::vector<std::string> phases() const {
    std::vector<std::string> names;
    for (uint32_t q = 0; q < quads(site_.scale * site_.scale); ++q)
      names.push_back(fmt::format("{}_P{}", prefix_, q));
    return names;
  }

  // to_plane: the one phase replaces the plane, cut to its size.
  std::string text(bool to_plane) const {
    std::string text;
    for (size_t i = 0; i + 1 < network_.layers.size(); ++i) {
      for (uint32_t q = 0; q < quads(network_.layers[i].out); ++q) text += i == 0 ? first(q) : inner(i, q);
    }
    for (uint32_t q = 0; q < phases().size(); ++q) text += last(q, to_plane);
    return text;
  }

 private:
  std::string name_of(size_t layer, uint32_t quad) const {
    return fmt::format("{}_{}_{}", prefix_, layer, quad);
  }
  std::vector<std::string> names_of(size_t layer) const {
    std::vector<std::string> names;
    for (uint32_t q = 0; q < quads(network_.layers[layer].out); ++q) names.push_back(name_of(layer, q));
    return names;
  }
  // What a stored activation of 1 means.
  double range(size_t layer) const {
    const double most = network_.layers[layer].activation_max;
    return most > 0 ? most : 1;
  }
  double weight(size_t index, uint32_t o, uint32_t i, uint32_t tap) const {
    const Layer& layer = network_.layers[index];
    if (o >= layer.out || i >= layer.in) return 0;
    return layer.weights[(static_cast<size_t>(o) * layer.in + i) * layer.kernel * layer.kernel + tap];
  }
  double bias(size_t index, uint32_t o) const {
    const Layer& layer = network_.layers[index];
    return o < layer.out ? layer.bias[o] : 0;
  }
  std::string stored(size_t index) const {
    return network_.layers[index].activation_max > 0 ? "  return clamp(s, 0.0, 1.0);\n}\n"
                                                     : "  return max(s, 0.0);\n}\n";
  }
  std::string begin(size_t index, uint32_t quad) const {
    std::array<double, 4> start{};
    const bool final = index + 1 == network_.layers.size();
    for (uint32_t k = 0; k < 4; ++k) start[k] = bias(index, 4 * quad + k) / (final ? 1 : range(index));
    return fmt::format("  vec4 s = {};\n", vec4(start));
  }

  // A sample of the plane, its edge's beyond it.
  std::string reader() const {
    return fmt::format(
        "#define SAMPLE(dx, dy) HOOKED_tex((clamp(at + vec2(dx, dy), vec2(0.0), HOOKED_size - 1.0) + 0.5) * "
        "HOOKED_pt).{}\n",
        component_);
  }

  std::string first(uint32_t quad) const {
    const Layer& layer = network_.layers[0];
    const auto half = static_cast<int>(layer.kernel / 2);
    std::string text = head_of(site_, fmt::format("{}, layer 0, channels from {} on", what_, 4 * quad), {},
                               name_of(0, quad), {1, 2 * margin_}, {1, 2 * margin_});
    text += reader() + "vec4 hook() {\n";
    text += fmt::format("  vec2 at = floor(HOOKED_pos * (HOOKED_size + {:.1f})) - {:.1f};\n", 2.0 * margin_,
                        1.0 * margin_);
    text += begin(0, quad);
    for (uint32_t t = 0; t < layer.kernel * layer.kernel; ++t) {
      std::array<double, 4> column{};
      for (uint32_t k = 0; k < 4; ++k) column[k] = weight(0, 4 * quad + k, 0, t) / range(0);
      text +=
          fmt::format("  s += {} * (SAMPLE({}.0, {}.0) - 0.5);\n", vec4(column),
                      static_cast<int>(t % layer.kernel) - half, static_cast<int>(t / layer.kernel) - half);
    }
    return text + stored(0);
  }

  std::string matrix(size_t index, uint32_t quad, uint32_t input, uint32_t tap, double factor) const {
    std::string text = "mat4(";
    for (uint32_t i = 0; i < 4; ++i) {
      for (uint32_t k = 0; k < 4; ++k)
        text += fmt::format("{}{:.7g}", i + k == 0 ? "" : ", ",
                            factor * weight(index, 4 * quad + k, 4 * input + i, tap));
    }
    return text + ")";
  }

  std::string inner(size_t index, uint32_t quad) const {
    const Layer& layer = network_.layers[index];
    const std::vector<std::string> inputs = names_of(index - 1);
    const auto half = static_cast<int>(layer.kernel / 2);
    std::string text =
        head_of(site_, fmt::format("{}, layer {}, channels from {} on", what_, index, 4 * quad), inputs,
                name_of(index, quad), {1, 2 * margin_}, {1, 2 * margin_});
    text += "vec4 hook() {\n" + begin(index, quad);
    for (uint32_t g = 0; g < inputs.size(); ++g) {
      for (uint32_t t = 0; t < layer.kernel * layer.kernel; ++t) {
        text +=
            fmt::format("  s += {} * {}_texOff(vec2({}.0, {}.0));\n",
                        matrix(index, quad, g, t, range(index - 1) / range(index)), inputs[g],
                        static_cast<int>(t % layer.kernel) - half, static_cast<int>(t / layer.kernel) - half);
      }
    }
    return text + stored(index);
  }

  // The last layer and the 5×5 filter, bicubic included.
  std::string last(uint32_t quad, bool to_plane) const {
    const size_t index = network_.layers.size() - 1;
    std::vector<std::string> inputs;
    if (!network_.layers.empty()) inputs = names_of(index - 1);
    const int64_t cut_x = to_plane ? int64_t{site_.width} - site_.out_width : 0,
                  cut_y = to_plane ? int64_t{site_.height} - site_.out_height : 0;
    std::string text = head_of(site_, fmt::format("{}, the last layer and the 5×5 filter", what_), inputs,
                               to_plane ? "" : phases()[quad], {1, -cut_x}, {1, -cut_y});
    text += reader() + "vec4 hook() {\n";
    text += fmt::format("  vec2 at = floor(HOOKED_pos * (HOOKED_size - vec2({}.0, {}.0)));\n", cut_x, cut_y);
    if (network_.layers.empty()) {
      text += "  vec4 s = vec4(0.0);\n";
    } else {
      const Layer& layer = network_.layers[index];
      const auto half = static_cast<int>(layer.kernel / 2);
      text += begin(index, quad);
      for (uint32_t g = 0; g < inputs.size(); ++g) {
        for (uint32_t t = 0; t < layer.kernel * layer.kernel; ++t) {
          text += fmt::format("  s += {} * {}_tex((at + vec2({:.1f}, {:.1f})) * {}_pt);\n",
                              matrix(index, quad, g, t, range(index - 1)), inputs[g],
                              static_cast<int>(t % layer.kernel) - half + 0.5 + margin_,
                              static_cast<int>(t / layer.kernel) - half + 0.5 + margin_, inputs[g]);
        }
      }
    }
    const std::vector<float> bicubic = bicubic_taps(site_.scale);
    for (uint32_t t = 0; t < kSkipTaps; ++t) {
      std::array<double, 4> column{};
      for (uint32_t k = 0; k < 4; ++k) {
        const size_t at = (4ul * quad + k) * kSkipTaps + t;
        column[k] = at < bicubic.size() ? bicubic[at] + network_.skip[at] : 0;
      }
      if (std::ranges::all_of(column, [](double c) { return c == 0; })) continue;
      text += fmt::format("  s += {} * SAMPLE({}.0, {}.0);\n", vec4(column),
                          static_cast<int>(t % kSkipSide) - 2, static_cast<int>(t / kSkipSide) - 2);
    }
    return text + (to_plane ? "  return vec4(clamp(s.x, 0.0, 1.0), 0.0, 0.0, 1.0);\n}\n"
                            : "  return clamp(s, 0.0, 1.0);\n}\n");
  }

  const Site& site_;
  const Network& network_;
  const std::string prefix_;
  const char component_;
  const std::string what_;
  uint32_t margin_ = 0;
};

// The phases of each component, put beside each other.
std::string shuffle(const Site& site, const std::vector<std::vector<Passes>>& components,
                    const Labels* labels) {
  std::vector<std::string> reads;
  for (const std::vector<Passes>& networks : components) {
    for (const Passes& passes : networks) std::ranges::copy(passes.phases(), std::back_inserter(reads));
  }
  if (labels != nullptr) reads.emplace_back("CAIRN_LABELS");
  if (reads.size() + 1 > kMostTextures)
    fail(ErrorCode::unsupported,
         "{} networks at x{} need {} textures in one pass of a shader, {} are allowed", components[0].size(),
         site.scale, reads.size() + 1, kMostTextures);
  const int64_t cut_x = int64_t{site.width} * site.scale - site.out_width,
                cut_y = int64_t{site.height} * site.scale - site.out_height;
  std::string text =
      head_of(site, "samples to their places", reads, "", {site.scale, -cut_x}, {site.scale, -cut_y});
  if (site.shift_x != 0 || site.shift_y != 0)
    text += fmt::format("//!OFFSET {} {}\n", site.shift_x, site.shift_y);
  text += "vec4 hook() {\n";
  text += fmt::format("  vec2 to = floor(HOOKED_pos * (HOOKED_size * {}.0 - vec2({}.0, {}.0)));\n",
                      site.scale, cut_x, cut_y);
  text += fmt::format("  vec2 at = floor(to / {0}.0), in_it = to - at * {0}.0;\n", site.scale);
  text += fmt::format("  int phase = int(in_it.y * {}.0 + in_it.x + 0.5), lane = phase - phase / 4 * 4;\n",
                      site.scale);
  text += "  vec2 pos = (at + 0.5) * HOOKED_pt;\n  vec4 v = vec4(0.0), result = vec4(0.0, 0.0, 0.0, 1.0);\n";
  if (labels != nullptr) {
    text += fmt::format(
        "  int label = int(texture(CAIRN_LABELS, (floor(at / vec2({}.0, {}.0)) + 0.5) / vec2({}.0, {}.0)).x "
        "* "
        "255.0 + 0.5);\n",
        labels->patch_width, labels->patch_height, labels->columns, labels->rows);
  }
  for (size_t c = 0; c < components.size(); ++c) {
    for (size_t n = 0; n < components[c].size(); ++n) {
      const std::vector<std::string> phases = components[c][n].phases();
      for (size_t q = 0; q < phases.size(); ++q) {
        std::string when = phases.size() == 1 ? "" : fmt::format("phase / 4 == {}", q);
        if (labels != nullptr) when = fmt::format("label == {}{}{}", n, when.empty() ? "" : " && ", when);
        text += fmt::format("  {}v = {}_tex(pos);\n", when.empty() ? "" : fmt::format("if ({}) ", when),
                            phases[q]);
      }
    }
    text +=
        fmt::format("  result.{} = lane == 0 ? v.x : lane == 1 ? v.y : lane == 2 ? v.z : v.w;\n", kXyzw[c]);
  }
  return text + "  return result;\n}\n";
}

void check(const Network& network, const std::string& what) {
  const auto refuse = [&](const std::string& why) {
    fail(ErrorCode::unsupported, "{} {}, which a shader cannot do: cairn video decode and play can", what,
         why);
  };
  if (network.frames != 1) refuse("looks at neighbouring frames");
  if (network.on_upscaled) refuse("runs on the upscaled frame");
  for (const Layer& layer : network.layers) {
    if (layer.add >= 0) refuse("adds earlier layers");
  }
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    if (layer.relu != (i + 1 < network.layers.size())) refuse("has layers without ReLU");
    if (quads(layer.in) + 1 > kMostTextures)
      refuse(fmt::format("has {} channels, and a pass reads {} textures of four at most,", layer.in,
                         kMostTextures - 1));
  }
}

std::string labels_texture(const Labels& labels, const std::vector<uint8_t>& map) {
  std::string text =
      fmt::format("\n//!TEXTURE CAIRN_LABELS\n//!SIZE {} {}\n//!FORMAT r8\n//!FILTER NEAREST\n",
                  labels.columns, labels.rows);
  for (const uint8_t label : map) text += fmt::format("{:02x}", label);
  return text + "\n";
}

}  // namespace

std::string write_shader(const Restoration& r, const Still& still, const Format& small, int siting) {
  for (const uint32_t n : still.networks)
    check(r.networks[n], fmt::format("network {} ({})", n, r.architectures[n].name()));
  Format restored = small;
  restored.width = r.width;
  restored.height = r.height;
  std::string text = fmt::format("// {}×{} restored to {}×{} (x{}), by cairn video export.\n", small.width,
                                 small.height, r.width, r.height, r.scale);
  const Site luma{"LUMA", small.width, small.height, r.width, r.height, r.scale};
  const bool labelled = !still.labels.empty();
  std::vector<std::vector<Passes>> components(1);
  for (const uint32_t n : still.networks)
    components[0].emplace_back(luma, r.networks[n], fmt::format("CAIRN{}", n), 'x',
                               fmt::format("network {} ({})", n, r.architectures[n].name()));
  if (labelled) text += labels_texture(*r.labels, still.labels);
  const bool direct = r.scale == 1 && !labelled;
  for (const Passes& passes : components[0]) text += passes.text(direct);
  if (!direct) text += shuffle(luma, components, labelled ? &*r.labels : nullptr);

  const bool cut = r.width != small.width * r.scale || r.height != small.height * r.scale;
  if (small.chroma == Chroma::none || (r.scale == 1 && !cut && !r.chroma)) return text;
  const Network bicubic = make_network({.kind = Architecture::Kind::linear}, r.scale);
  const Network& network = r.chroma ? *r.chroma : bicubic;
  check(network, "the chroma's network");
  // Restored chroma is sited on its own grid as the small one on its, and a player that knows of the small
  // one alone would shift it `scale` times as far. Of an odd luma it takes chroma to be as wide: the mean of
  // that.
  const bool left = siting == AVCHROMA_LOC_UNSPECIFIED || siting == AVCHROMA_LOC_LEFT ||
                    siting == AVCHROMA_LOC_TOPLEFT || siting == AVCHROMA_LOC_BOTTOMLEFT;
  const bool top = siting == AVCHROMA_LOC_TOPLEFT || siting == AVCHROMA_LOC_TOP;
  const bool bottom = siting == AVCHROMA_LOC_BOTTOMLEFT || siting == AVCHROMA_LOC_BOTTOM;
  const auto shift = [&](int side, uint32_t odd) { return 0.0 - 0.25 * (side * (r.scale - 1.0) + odd); };
  Site chroma{"CHROMA",
              small.plane_width(1),
              small.plane_height(1),
              restored.plane_width(1),
              restored.plane_height(1),
              r.scale};
  if (small.shift_x(1) > 0) chroma.shift_x = shift(left ? 1 : 0, r.width % 2);
  if (small.shift_y(1) > 0) chroma.shift_y = shift(top ? 1 : bottom ? -1 : 0, r.height % 2);
  std::vector<std::vector<Passes>> colours(2);
  for (size_t c = 0; c < 2; ++c) {
    colours[c].emplace_back(chroma, network, c == 0 ? "CAIRN_U" : "CAIRN_V", kXyzw[c], c == 0 ? "U" : "V");
    text += colours[c][0].text(false);
  }
  return text + shuffle(chroma, colours, nullptr);
}

uint32_t most_used(const Still& still) {
  std::vector<size_t> count(still.networks.size());
  for (const uint8_t label : still.labels) ++count[label];
  return still.networks[static_cast<size_t>(std::ranges::max_element(count) - count.begin())];
}

Still stand_still(const Restoration& r, std::optional<uint32_t> network, uint64_t frames) {
  if (network) {
    if (*network >= r.networks.size())
      fail(ErrorCode::invalid_argument, "there is no luma network {}: they are 0 … {}", *network,
           r.networks.size() - 1);
    return {{*network}, {}, 1};
  }
  if (r.labels && r.networks.size() > 1 && !r.labels->frames.empty()) {
    Still still;
    const size_t patches = size_t{r.labels->columns} * r.labels->rows;
    uint64_t served = 0;
    for (size_t p = 0; p < patches; ++p) {
      std::vector<uint64_t> count(r.networks.size());
      for (const std::vector<uint8_t>& frame : r.labels->frames) ++count[frame[p]];
      const auto most = std::ranges::max_element(count);
      still.labels.push_back(static_cast<uint8_t>(most - count.begin()));
      served += *most;
    }
    for (uint32_t n = 0; n < r.networks.size(); ++n) still.networks.push_back(n);
    still.share = static_cast<double>(served) / static_cast<double>(patches * r.labels->frames.size());
    return still;
  }
  if (r.segments.empty()) return {{0}, {}, 1};
  std::vector<uint64_t> count(r.networks.size());
  uint64_t total = 0;
  for (size_t i = 0; i < r.segments.size(); ++i) {
    const uint64_t first = r.segments[i].first_frame;
    // Where the file does not say how many frames it has, the last segment counts for one.
    const uint64_t end =
        i + 1 < r.segments.size() ? r.segments[i + 1].first_frame : std::max(frames, first + 1);
    count[r.segments[i].network] += end - first;
    total += end - first;
  }
  const auto most = std::ranges::max_element(count);
  return {{static_cast<uint32_t>(most - count.begin())},
          {},
          static_cast<double>(*most) / static_cast<double>(total)};
}

}  // namespace cairn::video
