#include "quantize/line_chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/html.hpp"

namespace cairn::quantize {
namespace {

constexpr double kWidth = 760, kHeight = 320, kLeft = 96, kRight = 16, kTop = 16, kBottom = 56;

// One axis: from values to pixels.
class Axis {
 public:
  Axis(const LineChart& chart, bool horizontal) : log_(horizontal ? chart.log_x : chart.log_y) {
    low_ = HUGE_VAL, high_ = -HUGE_VAL;
    for (const Series& series : chart.series) {
      for (const double value : horizontal ? series.x : series.y) {
        if (!shows(value)) continue;
        low_ = std::min(low_, value);
        high_ = std::max(high_, value);
      }
    }
    if (!(low_ <= high_)) low_ = log_ ? 0.1 : 0, high_ = 1;
    if (log_) {
      low_ = std::pow(10, std::floor(std::log10(low_)));
      high_ = std::pow(10, std::ceil(std::log10(high_)));
      if (low_ == high_) high_ *= 10;
    } else {
      if (!horizontal) low_ = std::min(low_, 0.0);
      const double step = tick_step();
      high_ = std::max(std::ceil(high_ / step - 1e-9) * step, low_ + step);
    }
    begin_ = horizontal ? kLeft : kHeight - kBottom;
    end_ = horizontal ? kWidth - kRight : kTop;
  }

  bool shows(double value) const { return std::isfinite(value) && (!log_ || value > 0); }
  double pixel(double value) const {
    const double part =
        log_ ? std::log(value / low_) / std::log(high_ / low_) : (value - low_) / (high_ - low_);
    return begin_ + part * (end_ - begin_);
  }
  std::vector<double> ticks() const {
    std::vector<double> result;
    if (log_) {
      for (double tick = low_; tick <= high_ * 1.001; tick *= 10) result.push_back(tick);
    } else {
      const double step = tick_step();
      for (double tick = std::ceil(low_ / step) * step; tick <= high_ + step / 1e3; tick += step)
        result.push_back(tick);
    }
    return result;
  }

 private:
  // 1, 2 or 5 times a power of ten, so that there are five to ten ticks.
  double tick_step() const {
    const double raw = std::max(high_ - low_, 1e-12) / 6, power = std::pow(10, std::floor(std::log10(raw)));
    const double digits = raw / power;
    return power * (digits <= 1 ? 1 : digits <= 2 ? 2 : digits <= 5 ? 5 : 10);
  }

  bool log_;
  double low_, high_, begin_, end_;
};

}  // namespace

std::string svg(const LineChart& chart) {
  const Axis x(chart, true), y(chart, false);
  std::string out =
      fmt::format("<figure><figcaption>{}</figcaption><p class=\"legend\">", escape_html(chart.title));
  for (size_t i = 0; i < chart.series.size(); ++i) {
    out += fmt::format("<span><i class=\"s{}\"></i>{}</span>", i, escape_html(chart.series[i].name));
  }
  out += fmt::format("</p><svg viewBox=\"0 0 {} {}\" role=\"img\">", kWidth, kHeight);
  for (const double tick : y.ticks()) {
    out += fmt::format(
        "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
        "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.4g}</text>",
        kLeft, kWidth - kRight, y.pixel(tick), y.pixel(tick), kLeft - 6, y.pixel(tick) + 4, tick);
  }
  for (const double tick : x.ticks()) {
    out += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.4g}</text>", x.pixel(tick),
                       kHeight - kBottom + 26, tick);
  }
  out += fmt::format("<path class=\"axis\" fill=\"none\" d=\"M{0} {1}V{2}H{3}\"/>", kLeft, kTop,
                     kHeight - kBottom, kWidth - kRight);
  out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                     (kLeft + kWidth - kRight) / 2, kHeight - 6, escape_html(chart.x_label));
  out += fmt::format("<text transform=\"translate(18 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
                     (kTop + kHeight - kBottom) / 2, escape_html(chart.y_label));
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const Series& series = chart.series[i];
    std::string line, points;
    for (size_t k = 0; k < series.x.size(); ++k) {
      if (!x.shows(series.x[k]) || !y.shows(series.y[k])) continue;
      const double px = x.pixel(series.x[k]), py = y.pixel(series.y[k]);
      line += fmt::format("{:.1f},{:.1f} ", px, py);
      points +=
          fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"><title>{} {:.4g}: {:.4g}</title></circle>",
                      px, py, escape_html(series.name), series.x[k], series.y[k]);
    }
    out += fmt::format("<g class=\"s{}\"><polyline points=\"{}\"/>{}</g>", i, line, points);
  }
  return out + "</svg></figure>\n";
}

}  // namespace cairn::quantize
