#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/html.hpp"
#include "quantize/calibration.hpp"
#include "quantize/line_chart.hpp"

namespace cairn::quantize {
namespace {

constexpr size_t kShown = 2;  // index of 99.9 in kPercentiles, the paper's
static_assert(kPercentiles[kShown] == 99.9);

std::string label(size_t input) {
  std::string text = name(static_cast<Input>(input));
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

// One value of each input by layer.
LineChart by_layer(const Calibration& c, std::string title, std::string unit,
                   const std::function<double(const OutlierStatistics&)>& value) {
  LineChart chart{std::move(title), "layer", std::move(unit), false, false, {}};
  for (size_t input = 0; input < kInputs; ++input) {
    Series& series = chart.series.emplace_back();
    series.name = label(input);
    for (size_t layer = 0; layer < c.layers.size(); ++layer) {
      series.x.push_back(static_cast<double>(layer));
      series.y.push_back(value(c.layers[layer][input].outliers[0][kShown]));
    }
  }
  return chart;
}

// What share of the outliers the most frequent channels hold, mean over the layers.
LineChart hot_channels(const Calibration& c) {
  LineChart chart{"Hot channels (Fig. 11): outliers held by the most frequent channels",
                  "channels, % of all",
                  "outliers, % of all",
                  true,
                  false,
                  {}};
  for (size_t input = 0; input < kInputs; ++input) {
    Series& series = chart.series.emplace_back();
    series.name = label(input);
    std::vector<double> held(c.widths[input]);
    for (const auto& layer : c.layers) {
      std::vector<double> counts(layer[input].outliers[0][kShown].counts.begin(),
                                 layer[input].outliers[0][kShown].counts.end());
      std::sort(counts.begin(), counts.end(), std::greater<>());
      const double all = std::accumulate(counts.begin(), counts.end(), 0.0);
      double sum = 0;
      for (size_t i = 0; i < counts.size(); ++i) {
        sum += counts[i];
        held[i] += all == 0 ? 0 : 100 * sum / all / static_cast<double>(c.layers.size());
      }
    }
    for (size_t i = 1; i <= held.size(); i = std::max(i + 1, i * 5 / 4)) {
      series.x.push_back(100.0 * static_cast<double>(i) / static_cast<double>(held.size()));
      series.y.push_back(held[i - 1]);
    }
  }
  return chart;
}

std::string outlier_table(const Calibration& c) {
  std::string out =
      "<h2>Outliers beyond the 99.9th percentile</h2><div class=\"wide\"><table><tr><th>input of<th>outlier "
      "channels a token"
      "<th>channels touched in a window<th>in the top 3 % of channels<th>most important</tr>\n";
  for (size_t input = 0; input < kInputs; ++input) {
    double channels = 0, touched = 0, mass = 0, importance = 0;
    size_t layer_of = 0;
    for (size_t layer = 0; layer < c.layers.size(); ++layer) {
      const OutlierStatistics& o = c.layers[layer][input].outliers[0][kShown];
      const double n = static_cast<double>(c.layers.size());
      channels += static_cast<double>(o.channels_per_token) / n;
      touched += 100 * static_cast<double>(o.touched) / n;
      mass += 100 * o.mass(static_cast<size_t>(std::lround(0.03 * c.widths[input]))) / n;
      if (static_cast<double>(o.importance) > importance) {
        importance = static_cast<double>(o.importance);
        layer_of = layer;
      }
    }
    out += fmt::format("<tr><td>{}<td>{:.2f}<td>{:.1f} %<td>{:.1f} %<td>{:.0f} (layer {})</tr>\n",
                       label(input), channels, touched, mass, importance, layer_of);
  }
  return out + "</table></div>\n";
}

std::string cost_tables(const Calibration& c) {
  std::string out;
  if (!c.whole.empty()) {
    out +=
        "<h2>The whole model in one form</h2><div class=\"wide\"><table><tr><th>form<th>first tokens in "
        "float<th>KL from float, "
        "nats a token<th>perplexity</tr>\n";
    for (const WholeCost& w : c.whole) {
      out += fmt::format("<tr><td>{}<td>{}<td>{:.4f}<td>{:+.2f} %</tr>\n", name(w.form), w.float_tokens,
                         static_cast<double>(w.kl), 100 * (static_cast<double>(w.perplexity) - 1));
    }
    out += "</table></div>\n";
  }
  if (c.cost_tokens == 0) return out;
  for (size_t form = 0; form < kForms; ++form) {
    LineChart chart{fmt::format("One input alone: {}", name(static_cast<Form>(form))),
                    "layer",
                    "KL from float, nats a token",
                    false,
                    true,
                    {}};
    for (size_t input = 0; input < kInputs; ++input) {
      Series& series = chart.series.emplace_back();
      series.name = label(input);
      for (size_t layer = 0; layer < c.layers.size(); ++layer) {
        series.x.push_back(static_cast<double>(layer));
        series.y.push_back(static_cast<double>(c.layers[layer][input].costs[form]));
      }
    }
    out += svg(chart);
  }
  return out;
}

std::string time_tables(const Calibration& c) {
  std::string out;
  for (const DeviceTimes& device : c.times) {
    out += fmt::format(
        "<h2>Times on {}: chunks of {}, {} threads, ms</h2><div class=\"wide\"><table><tr><th>subgraph",
        escape_html(device.device), device.chunk, device.threads);
    for (uint32_t chunk = 0; chunk < device.chunks; ++chunk) out += fmt::format("<th>chunk {}", chunk);
    for (size_t kind = 0; kind < device.kinds.size(); ++kind) {
      out += fmt::format("</tr>\n<tr><td>{}", escape_html(device.kinds[kind]));
      for (uint32_t chunk = 0; chunk < device.chunks; ++chunk) {
        out += fmt::format("<td>{:.3f}",
                           1e3 * static_cast<double>(device.seconds[kind * device.chunks + chunk]));
      }
    }
    out += "</tr></table></div>\n";
  }
  return out;
}

}  // namespace

std::string calibration_html(const Calibration& c) {
  std::string out = fmt::format("<p>{} layers, {} linear inputs, {} tokens in windows of {}.</p>\n",
                                c.layers.size(), c.layers.size() * kInputs, c.tokens, c.window);
  // Not those of one token: beyond a percentile of the tensor they are as many in every layer.
  out += svg(by_layer(c, "Outlier channels of a window (Fig. 10): beyond the 99.9th percentile", "channels",
                      [](const OutlierStatistics& o) {
                        return static_cast<double>(o.touched) * static_cast<double>(o.counts.size());
                      }));
  out += svg(by_layer(c, "Channels that a window touches (Fig. 11)", "% of all channels",
                      [](const OutlierStatistics& o) { return 100 * static_cast<double>(o.touched); }));
  out += svg(hot_channels(c));
  LineChart importance =
      by_layer(c, "Importance (Fig. 12): largest outlier / scale", "in units of the scale",
               [](const OutlierStatistics& o) { return static_cast<double>(o.importance); });
  importance.log_y = true;
  out += svg(importance);
  out += outlier_table(c) + cost_tables(c) + time_tables(c);
  return html_page("Calibration of " + (c.model.empty() ? "a model" : c.model), out);
}

}  // namespace cairn::quantize
