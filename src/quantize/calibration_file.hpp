// The calibration's form in a file, shared by its reader and its writer.
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "quantize/calibration.hpp"

namespace cairn::quantize {

constexpr const char* kArchitecture = "cairn.calibration";

// SHA-256 over every field: what was written is what is read.
std::string checksum(const Calibration& calibration);

// The file's tensors, each one run of floats over all layers. visit(name, shape, get) is called for each in
// file order; get(layer) calls its argument on the layer's parts of the tensor in order, as float& or
// std::vector<float>& of the innermost dimension.
template <class C, class Visit>
void for_each_tensor(C& c, Visit visit) {
  const auto layers = static_cast<uint64_t>(c.layers.size());
  const auto percentiles = static_cast<uint64_t>(kPercentiles.size());
  for (size_t basis = 0; basis < kBases; ++basis) {
    const std::string prefix = name(static_cast<Basis>(basis));
    visit(
        prefix + ".ranges", std::vector<uint64_t>{percentiles + 2, kSkips.size(), kInputs, layers},
        [basis](auto& record, auto put) {
          for (auto& range : record.ranges[basis]) {
            put(range.maximum);
            for (auto& percentile : range.percentiles) put(percentile);
            put(range.clip);
          }
        },
        Input::count);
    visit(
        prefix + ".outliers", std::vector<uint64_t>{3, percentiles, kInputs, layers},
        [basis](auto& record, auto put) {
          for (auto& outliers : record.outliers[basis]) {
            put(outliers.channels_per_token);
            put(outliers.touched);
            put(outliers.importance);
          }
        },
        Input::count);
    for (size_t i = 0; i < kInputs; ++i) {
      visit(
          fmt::format("{}.{}.outlier_counts", prefix, name(static_cast<Input>(i))),
          std::vector<uint64_t>{c.widths[i], percentiles, layers},
          [basis](auto& record, auto put) {
            for (auto& outliers : record.outliers[basis]) {
              for (auto& count : outliers.counts) put(count);
            }
          },
          static_cast<Input>(i));
    }
  }
  for (size_t i = 0; i < kInputs; ++i) {
    const std::string prefix = name(static_cast<Input>(i));
    visit(
        prefix + ".channel_maxima", std::vector<uint64_t>{c.widths[i], kSkips.size(), layers},
        [](auto& record, auto put) {
          for (auto& maxima : record.channel_maxima) {
            for (auto& maximum : maxima) put(maximum);
          }
        },
        static_cast<Input>(i));
    visit(
        prefix + ".weight_maxima", std::vector<uint64_t>{c.widths[i], layers},
        [](auto& record, auto put) {
          for (auto& maximum : record.weight_maxima) put(maximum);
        },
        static_cast<Input>(i));
  }
  visit(
      "costs", std::vector<uint64_t>{kForms, kInputs, layers},
      [](auto& record, auto put) {
        for (auto& cost : record.costs) put(cost);
      },
      Input::count);
}

// Calls use(record) on the records that a tensor covers, in its order: one input of every layer, or all four
// where `input` is Input::count.
template <class C, class Use>
void for_each_record(C& c, Input input, Use use) {
  for (auto& layer : c.layers) {
    for (size_t i = 0; i < kInputs; ++i) {
      if (input == Input::count || input == static_cast<Input>(i)) use(layer[i]);
    }
  }
}

}  // namespace cairn::quantize
