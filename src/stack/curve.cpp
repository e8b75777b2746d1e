#include "stack/curve.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/byte_size.hpp"
#include "base/html.hpp"
#include "quantize/line_chart.hpp"

namespace cairn::stack {
namespace {

constexpr double kStep = 0.01;  // of the linear bytes, between two points

CurvePoint point(const Layout& layout, size_t count) {
  return {count, layout.end_of(count), layout.linear_bytes(count), layout.bits(count),
          static_cast<double>(layout.blocks[count - 1].loss)};
}

uint64_t largest_step(const Layout& layout) {
  uint64_t largest = 0;
  for (size_t i = layout.base_blocks; i < layout.blocks.size(); ++i)
    largest = std::max(largest, padded(layout.blocks[i].bytes) + layout.entry_bytes);
  return largest;
}

const char* name(Codec codec) {
  return codec == Codec::avd ? "avd" : "planes";
}

}  // namespace

std::vector<CurvePoint> size_loss_curve(const Layout& layout) {
  std::vector<CurvePoint> curve = {point(layout, layout.base_blocks)};
  const double step = kStep * static_cast<double>(layout.linear_bytes(layout.blocks.size()));
  for (size_t count = layout.base_blocks + 1; count <= layout.blocks.size(); ++count) {
    const auto grown = static_cast<double>(layout.linear_bytes(count) - curve.back().linear_bytes);
    if (grown >= step || count == layout.blocks.size()) curve.push_back(point(layout, count));
  }
  return curve;
}

std::string describe(const Layout& layout) {
  const size_t all = layout.blocks.size(), there = layout.blocks_within(layout.present_bytes);
  std::string text = fmt::format(
      "stack: {}, {} matrices in {} blocks, {} bytes of blocks and tables, {:.3f} bits a weight\n"
      "base: {} bytes, {:.3f} bits a weight; largest step: {} bytes\n",
      name(layout.codec), layout.matrices.size(), all, layout.linear_bytes(all), layout.bits(all),
      layout.base_bytes, layout.bits(layout.base_blocks), largest_step(layout));
  if (there < all)
    text += fmt::format("present: {} blocks, {:.3f} bits a weight\n", there, layout.bits(there));
  constexpr size_t kRows = 20, kWidth = 40;
  const std::vector<CurvePoint> curve = size_loss_curve(layout);
  double most = 0, least = 0;  // of the logarithm
  for (const CurvePoint& p : curve) {
    const double log = std::log(std::max(p.loss, 1e-6));
    most = &p == curve.data() ? log : std::max(most, log);
    least = &p == curve.data() ? log : std::min(least, log);
  }
  text += "\n     bytes   bits  predicted loss, nats a token (logarithmic)\n";
  size_t last = curve.size();
  for (size_t row = 0; row < kRows; ++row) {
    const size_t i = row * (curve.size() - 1) / (kRows - 1);
    if (i == last) continue;
    last = i;
    const CurvePoint& p = curve[i];
    const double share = most > least ? (std::log(std::max(p.loss, 1e-6)) - least) / (most - least) : 0;
    text += fmt::format("{:>10} {:6.3f}  {:<{}} {:.4g}\n", p.linear_bytes, p.bits,
                        std::string(static_cast<size_t>(std::lround(share * kWidth)), '#'), kWidth, p.loss);
  }
  return text;
}

nlohmann::ordered_json to_json(const Layout& layout) {
  auto curve = nlohmann::ordered_json::array();
  for (const CurvePoint& p : size_loss_curve(layout)) {
    curve.push_back({{"blocks", p.blocks},
                     {"file_bytes", p.file_bytes},
                     {"linear_bytes", p.linear_bytes},
                     {"bits", p.bits},
                     {"predicted_loss", p.loss}});
  }
  const size_t all = layout.blocks.size();
  return {{"codec", name(layout.codec)},
          {"planes", layout.codec == Codec::planes ? layout.planes() : 0},
          {"matrices", layout.matrices.size()},
          {"blocks", all},
          {"parameters", layout.parameters()},
          {"linear_bytes", layout.linear_bytes(all)},
          {"steps", all - layout.base_blocks},
          {"largest_step", largest_step(layout)},
          {"base_bytes", layout.base_bytes},
          {"file_bytes", layout.file_bytes},
          {"present_bytes", layout.present_bytes},
          {"curve", curve}};
}

std::string curve_html(const Layout& layout, const std::string& title) {
  quantize::LineChart chart{
      "What a size costs", "bits a weight", "predicted loss, nats a token", false, true, {}};
  quantize::Series series{name(layout.codec), {}, {}};
  for (const CurvePoint& p : size_loss_curve(layout)) {
    series.x.push_back(p.bits);
    series.y.push_back(p.loss);
  }
  chart.series.push_back(std::move(series));
  return html_page(
      title,
      fmt::format(
          "<p>{} matrices in {} blocks; base {:.3f}, whole {:.3f} bits a weight; largest step {}.</p>\n{}",
          layout.matrices.size(), layout.blocks.size(), layout.bits(layout.base_blocks),
          layout.bits(layout.blocks.size()), byte_size(largest_step(layout)), quantize::svg(chart)));
}

}  // namespace cairn::stack
