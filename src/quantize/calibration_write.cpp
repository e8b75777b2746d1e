#include <span>

#include "base/sha256.hpp"
#include "formats/gguf_writer.hpp"
#include "quantize/calibration_file.hpp"

namespace cairn::quantize {
namespace {

std::vector<int32_t> signed_list(std::span<const uint32_t> values) {
  return {values.begin(), values.end()};
}

template <class C, class Get>
std::vector<float> gather(const C& calibration, Input input, Get get) {
  std::vector<float> values;
  for_each_record(calibration, input, [&](const InputRecord& record) {
    get(record, [&](float value) { values.push_back(value); });
  });
  return values;
}

}  // namespace

std::string checksum(const Calibration& c) {
  Sha256 hash;
  const auto add = [&](const auto& values) { hash.update(std::as_bytes(std::span(values))); };
  const auto add_text = [&](const std::string& text) {
    add(std::array<uint64_t, 1>{text.size()});
    add(text);
  };
  add_text(c.fingerprint);
  add_text(c.model);
  add(std::array<uint64_t, 6>{c.tokens, c.window, c.weight_bytes, c.cost_skip, c.cost_tokens,
                              c.layers.size()});
  add(c.widths);
  add(c.outputs);
  for (const WholeCost& cost : c.whole) {
    add(std::array<uint32_t, 2>{static_cast<uint32_t>(cost.form), cost.float_tokens});
    add(std::array<float, 2>{cost.kl, cost.perplexity});
  }
  for (const DeviceTimes& times : c.times) {
    add_text(times.device);
    add(std::array<uint32_t, 3>{times.chunk, times.chunks, times.threads});
    for (const std::string& kind : times.kinds) add_text(kind);
    add(times.seconds);
  }
  for_each_tensor(c, [&](const std::string&, const std::vector<uint64_t>&, auto get, Input input) {
    add(gather(c, input, get));
  });
  return hash.hex();
}

void Calibration::write(const std::string& path) const {
  gguf::Writer writer;
  writer.set("general.architecture", kArchitecture);
  writer.set("calibration.version", kVersion);
  writer.set("calibration.checksum", checksum(*this));
  writer.set("calibration.model.fingerprint", fingerprint);
  writer.set("calibration.model.name", model);
  writer.set("calibration.model.weight_bytes", weight_bytes);
  writer.set("calibration.layers", static_cast<uint32_t>(layers.size()));
  writer.set("calibration.inputs", [] {
    std::vector<std::string> names;
    for (size_t i = 0; i < kInputs; ++i) names.emplace_back(name(static_cast<Input>(i)));
    return names;
  }());
  writer.set("calibration.widths", signed_list(widths));
  writer.set("calibration.outputs", signed_list(outputs));
  writer.set("calibration.tokens", tokens);
  writer.set("calibration.window", window);
  writer.set("calibration.percentiles", std::vector<float>(kPercentiles.begin(), kPercentiles.end()));
  writer.set("calibration.skips", signed_list(kSkips));
  writer.set("calibration.forms", [] {
    std::vector<std::string> names;
    for (size_t i = 0; i < kForms; ++i) names.emplace_back(name(static_cast<Form>(i)));
    return names;
  }());
  writer.set("calibration.cost.skip", cost_skip);
  writer.set("calibration.cost.tokens", cost_tokens);
  if (!whole.empty()) {
    std::vector<int32_t> forms, skips;
    std::vector<float> kl, perplexity;
    for (const WholeCost& cost : whole) {
      forms.push_back(static_cast<int32_t>(cost.form));
      skips.push_back(static_cast<int32_t>(cost.float_tokens));
      kl.push_back(cost.kl);
      perplexity.push_back(cost.perplexity);
    }
    writer.set("calibration.whole.forms", forms);
    writer.set("calibration.whole.float_tokens", skips);
    writer.set("calibration.whole.kl", kl);
    writer.set("calibration.whole.perplexity", perplexity);
  }
  writer.set("calibration.times.count", static_cast<uint32_t>(times.size()));
  for (size_t i = 0; i < times.size(); ++i) {
    const auto key = [i](const char* field) { return fmt::format("calibration.times.{}.{}", i, field); };
    writer.set(key("device"), times[i].device);
    writer.set(key("chunk"), times[i].chunk);
    writer.set(key("chunks"), times[i].chunks);
    writer.set(key("threads"), times[i].threads);
    writer.set(key("kinds"), times[i].kinds);
    writer.set(key("seconds"), times[i].seconds);
  }
  std::vector<std::vector<float>> data;
  for_each_tensor(*this,
                  [&](const std::string& tensor, const std::vector<uint64_t>& shape, auto get, Input input) {
                    writer.add_tensor(tensor, Encoding::f32, shape);
                    data.push_back(gather(*this, input, get));
                  });
  writer.write(path, [&](size_t tensor, const gguf::Writer::Sink& sink) {
    sink(std::as_bytes(std::span(data[tensor])));
  });
}

}  // namespace cairn::quantize
