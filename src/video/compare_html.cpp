// comparison_html(): figures, curves, heat map and crops on one page that needs nothing else.
#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string_view>
#include <vector>

#include "base/base64.hpp"
#include "base/error.hpp"
#include "base/html.hpp"
#include "video/compare.hpp"
#include "video/metrics.hpp"

namespace cairn::video {
namespace {

std::string image(const Picture& picture, std::string_view name) {
  const std::vector<uint8_t> png = encode_png(picture, 9);
  return fmt::format(
      "<img class=\"{}\" width=\"{}\" height=\"{}\" alt=\"{}\" src=\"data:image/png;base64,{}\">", name,
      picture.width, picture.height, name, base64(std::as_bytes(std::span(png))));
}

std::string table(const Comparison& c) {
  std::string out =
      "<div "
      "class=\"wide\"><table><tr><th></th><th>PSNR-Y</th><th>PSNR-RGB</th><th>SSIM-Y</th><th>MS-SSIM-Y</"
      "th><th>VMAF</th></"
      "tr>";
  for (const auto& [label, s] :
       {std::pair<const char*, const Scores&>{"cairn", c.restored}, {"Lanczos", c.lanczos}}) {
    out += fmt::format(
        "<tr><td>{}</td><td>{:.2f} dB</td><td>{:.2f} dB</td><td>{:.4f}</td><td>{:.4f}</td><td>{}</td></tr>",
        label, s.psnr_y, s.psnr_rgb, s.ssim_y, s.ms_ssim_y, s.vmaf ? fmt::format("{:.2f}", *s.vmaf) : "–");
  }
  out += "</table></div><div class=\"wide\"><table><tr><th>part</th><th>bytes</th><th>kbit/s</th></tr>";
  const std::array<std::pair<const char*, uint64_t>, 7> parts = {
      {{"small video", c.bytes.video},
       {"networks", c.bytes.networks},
       {"labels", c.bytes.labels},
       {"attachment's header", c.bytes.header},
       {"picture, all of these", c.bytes.picture()},
       {"audio", c.bytes.audio},
       {"container", c.bytes.container()}}};
  for (const auto& [label, bytes] : parts) {
    out += fmt::format("<tr><td>{}</td><td>{}</td><td>{:.1f}</td></tr>", label, bytes,
                       c.seconds > 0 ? static_cast<double>(bytes) * 8e-3 / c.seconds : 0.0);
  }
  return out + "</table></div>";
}

std::string curve(const std::vector<double>& values, double low, double high, const char* series) {
  std::string points;
  const double step = values.size() > 1 ? 800.0 / static_cast<double>(values.size() - 1) : 0;
  for (size_t i = 0; i < values.size(); ++i)
    points += fmt::format("{:.1f},{:.1f} ", 50 + step * static_cast<double>(i),
                          210 - 200 * (values[i] - low) / (high - low));
  return fmt::format("<g class=\"{}\"><polyline points=\"{}\"/></g>", series, points);
}

std::string plot(const Comparison& c) {
  double low = 100, high = 0;
  for (const Scores* s : {&c.restored, &c.lanczos}) {
    for (const double value : s->frame_psnr_y) {
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  low = std::floor(low);
  high = std::max(std::ceil(high), low + 1);
  std::string out = "<svg viewBox=\"0 0 870 240\" role=\"img\" aria-label=\"PSNR of each frame\">";
  const double step = std::max(1.0, std::ceil((high - low) / 6));
  for (double y = low; y <= high; y += step) {
    const double at = 210 - 200 * (y - low) / (high - low);
    out += fmt::format(
        "<line x1=\"50\" x2=\"850\" y1=\"{0:.1f}\" y2=\"{0:.1f}\" class=\"grid\"/><text x=\"44\" "
        "y=\"{1:.1f}\" text-anchor=\"end\">{2:.0f}</text>",
        at, at + 4, y);
  }
  out += "<path class=\"axis\" fill=\"none\" d=\"M50 10V210H850\"/>";
  out += curve(c.lanczos.frame_psnr_y, low, high, "s1") + curve(c.restored.frame_psnr_y, low, high, "s0");
  return out +
         fmt::format(
             "<text x=\"50\" y=\"232\">frame 0</text><text x=\"850\" y=\"232\" "
             "text-anchor=\"end\">{}</text></svg><p class=\"legend\"><span><i class=\"s0\"></i>cairn</span>"
             "<span><i class=\"s1\"></i>Lanczos</span>luma PSNR of each frame, dB</p>",
             c.frames - 1);
}

// Dark blue: the patches nearest to the original; yellow: those furthest from it.
std::string heat_map(const Comparison& c) {
  std::vector<double> values;
  for (const double error : c.patches) values.push_back(psnr(error, c.format.peak()));
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double span = std::max(*high - *low, 1e-9), side = 870.0 / c.patch_columns;
  std::string out = fmt::format("<svg viewBox=\"0 0 870 {:.0f}\" role=\"img\" aria-label=\"heat map\">",
                                side * c.patch_rows);
  for (size_t i = 0; i < values.size(); ++i) {
    const double hard = 1 - (values[i] - *low) / span;
    out += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
        "fill=\"rgb({:.0f},{:.0f},{:.0f})\"><title>{:.2f} dB</title></rect>",
        side * static_cast<double>(i % c.patch_columns), side * static_cast<double>(i / c.patch_columns),
        side + 0.2, side + 0.2, 30 + 220 * hard, 30 + 190 * hard, 110 - 60 * hard, values[i]);
  }
  return out + fmt::format(
                   "</svg><p>Luma PSNR of each {0}×{0} patch over all frames: {1:.1f} dB (yellow) to {2:.1f} "
                   "dB (blue)</p>",
                   c.patch_side, *low, *high);
}

constexpr std::string_view kCropStyle =
    ".crop{position:relative;display:inline-block;max-width:100%;image-rendering:pixelated}"
    ".crop img{position:absolute;left:0;top:0;max-width:100%;height:auto}"
    ".crop img:first-child{position:relative;display:block}input[type=range]{width:100%}";
constexpr std::string_view kScript =
    "document.querySelectorAll('.slider').forEach(s=>{const "
    "c=s.querySelector('.crop'),r=s.querySelector('input'),"
    "p=s.querySelector('select');const f=()=>{"
    "c.querySelectorAll('.lanczos,.restored').forEach(i=>{i.style.display="
    "i.classList.contains(p.value)?'':'none';i.style.clipPath="
    "`inset(0 ${100-r.value}% 0 0)`})};r.oninput=p.onchange=f;f()})";

std::string sliders(const Comparison& c) {
  std::string out;
  for (const Crop& crop : c.crops) {
    out += fmt::format(
        "<div class=\"slider\"><p>Frame {}: left of the slider <select><option value=\"restored\">cairn"
        "</option><option value=\"lanczos\">Lanczos</option></select>, right of it the original</p>"
        "<div class=\"crop\">{}{}{}</div><input type=\"range\" min=\"0\" max=\"100\" value=\"50\" "
        "aria-label=\"split\"></div>",
        crop.frame, image(crop.original, "original"), image(crop.lanczos, "lanczos"),
        image(crop.restored, "restored"));
  }
  return out;
}

}  // namespace

std::string comparison_html(const Comparison& c, const std::string& title) {
  std::string networks;
  for (const std::string& name : c.networks) networks += (networks.empty() ? "" : ", ") + name;
  return html_page(
      title,
      fmt::format("<style>{}</style><p>{}×{}, {} frames, {} at 1/{} of the size, networks: {}</p>{}"
                  "<h2>Frame by frame</h2>{}<h2>Patch by patch</h2>{}<h2>Crops</h2>{}<script>{}</script>",
                  kCropStyle, c.format.width, c.format.height, c.frames, escape_html(c.codec), c.scale,
                  networks.empty() ? "none" : escape_html(networks), table(c), plot(c), heat_map(c),
                  sliders(c), kScript));
}

}  // namespace cairn::video
