#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/html.hpp"
#include "offload/gantt.hpp"
#include "offload/timeline.hpp"

namespace cairn::offload {
namespace {

constexpr double kWidth = 1200, kLeft = 56, kRight = 96, kRow = 34, kGap = 6, kTitle = 30, kAxis = 24;

double tick_step(double span) {
  const double rough = span / 8, power = std::pow(10, std::floor(std::log10(rough)));
  for (double nice : {1.0, 2.0, 5.0})
    if (nice * power >= rough) return nice * power;
  return 10 * power;
}

class Picture {
 public:
  Picture(double from, double to) : from_(from), to_(to) {}

  void timeline(const Timeline& t) {
    text(kLeft, y_ + 19, "title", t.title);
    y_ += kTitle;
    for (Processor processor : {Processor::npu, Processor::cpu}) row(t, processor);
  }
  void axis() {
    const double step = tick_step(to_ - from_);
    for (double at = std::ceil(from_ / step) * step; at <= to_; at += step) {
      emit("<path class='tick' d='M{0:.1f} {1:.1f}v5'/>", x(at), y_);
      text(x(at), y_ + 18, "axis", fmt::format("{:g} ms", std::round(at * 1e6) / 1e3));
    }
    y_ += kAxis;
  }
  std::string take(uint32_t chunks) {
    double at = kLeft;
    for (uint32_t chunk = 0; chunk < std::min(chunks, 8u); ++chunk, at += 84) {
      emit("<rect x='{:.0f}' y='{:.0f}' width='12' height='12' rx='2' fill='{}'/>", at, y_ + 4,
           chunk_colour(chunk, false));
      text(at + 17, y_ + 14, "note", fmt::format("chunk {}", chunk + 1));
    }
    text(at, y_ + 14, "note", "pale: on the CPU; hatched: shadow outliers; grey: idle");
    y_ += 26;
    return fmt::format(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {0:.0f} {1:.0f}' width='{0:.0f}' "
        "height='{1:.0f}'>\n<style>text{{font-family:system-ui,sans-serif;font-size:12px;fill:#333}}"
        ".title{{font-size:14px;font-weight:600}}.axis{{text-anchor:middle;fill:#666}}.note{{fill:#555}}"
        ".tick{{stroke:#999}}</style>\n<defs><pattern id='shadow' width='5' height='5' "
        "patternUnits='userSpaceOnUse' patternTransform='rotate(45)'><path d='M0 0v5' stroke='#000' "
        "stroke-opacity='.55' stroke-width='2.4'/></pattern></defs>\n"
        "<rect width='100%' height='100%' fill='#fff'/>\n{2}</svg>\n",
        kWidth, y_, out_);
  }

 private:
  template <class... Args>
  void emit(fmt::format_string<Args...> format, Args&&... args) {
    out_ += fmt::format(format, std::forward<Args>(args)...);
    out_ += '\n';
  }
  void text(double at, double y, const char* style, const std::string& content) {
    emit("<text x='{:.1f}' y='{:.1f}' class='{}'>{}</text>", at, y, style, escape_html(content));
  }
  double x(double seconds) const {
    return kLeft + (seconds - from_) / (to_ - from_) * (kWidth - kLeft - kRight);
  }
  void row(const Timeline& t, Processor processor) {
    text(8, y_ + kRow / 2 + 4, "note", name(processor));
    emit("<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.0f}' fill='#e4e4e4'/>", kLeft, y_,
         kWidth - kLeft - kRight, kRow);
    for (const Event& e : t.events) {
      if (e.processor != processor || e.end <= from_ || e.begin >= to_) continue;
      const double begin = x(std::max(e.begin, from_)), width = x(std::min(e.end, to_)) - begin;
      const auto rectangle = [&](std::string_view fill) {
        emit("<rect x='{:.2f}' y='{:.1f}' width='{:.2f}' height='{:.0f}' fill='{}'/>", begin, y_,
             std::max(width - 0.4, 0.3), kRow, fill);
      };
      rectangle(chunk_colour(e.chunk, processor == Processor::cpu));
      if (is_shadow(e.kind)) rectangle("url(#shadow)");
    }
    text(kWidth - kRight + 8, y_ + kRow / 2 + 4, "note",
         fmt::format("{:.1f} % idle", 100 * t.bubble(processor)));
    y_ += kRow + kGap;
  }

  double from_, to_, y_ = 4;
  std::string out_;
};

}  // namespace

bool is_shadow(TaskKind kind) {
  return kind >= TaskKind::shadow_qkv && kind <= TaskKind::shadow_down;
}

// Hues far apart for neighbours: steps of the golden angle.
std::string chunk_colour(uint32_t chunk, bool pale) {
  const double hue = std::fmod(210 + 137.508 * chunk, 360);
  return fmt::format("hsl({:.0f},{}%,{}%)", hue, pale ? 55 : 62, pale ? 72 : 48);
}

std::string gantt_svg(std::span<const Timeline> timelines, double from, double to) {
  if (!(to > from)) to = from + 1e-9;
  Picture picture(from, to);
  uint32_t chunks = 0;
  for (const Timeline& timeline : timelines) {
    picture.timeline(timeline);
    for (const Event& event : timeline.events) chunks = std::max(chunks, event.chunk + 1);
  }
  picture.axis();
  return picture.take(chunks);
}

}  // namespace cairn::offload
