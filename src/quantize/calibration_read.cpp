#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.hpp"
#include "graph/graph.hpp"
#include "quantize/calibration_file.hpp"
#include "quantize/fingerprint.hpp"

namespace cairn::quantize {
namespace {

// The file's own place in front of every complaint.
class Reader {
 public:
  explicit Reader(const std::string& path) : file_(path) {}
  const gguf::File& file() const { return file_; }

  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorCode::format, "{}: {}", file_.path(), fmt::format(format, std::forward<Args>(args)...));
  }

  uint32_t small(const std::string& key, uint32_t most) const {
    const uint64_t value = file_.integer(key);
    if (value > most) refuse("{} is {}, more than {}", key, value, most);
    return static_cast<uint32_t>(value);
  }

  std::vector<uint32_t> small_list(const std::string& key, size_t size, uint32_t most) const {
    const std::vector<int64_t> values = file_.integers(key);
    if (values.size() != size) refuse("{} has {} entries, not {}", key, values.size(), size);
    for (const int64_t value : values) {
      if (value < 0 || value > most) refuse("{} holds {}, which is not in 0 to {}", key, value, most);
    }
    return {values.begin(), values.end()};
  }

  std::vector<float> floats(const std::string& key, size_t size) const {
    const std::vector<double> values = file_.numbers(key);
    if (values.size() != size) refuse("{} has {} entries, not {}", key, values.size(), size);
    for (const double value : values) {
      if (!std::isfinite(value) || value < 0) refuse("{} holds {}", key, value);
    }
    return {values.begin(), values.end()};
  }

  // Lists whose meaning this version fixes.
  template <class Expected>
  void require_list(const std::string& key, const std::vector<Expected>& expected) const {
    std::vector<Expected> found;
    if constexpr (std::is_same_v<Expected, std::string>) {
      for (const std::string_view text : file_.texts(key)) found.emplace_back(text);
    } else {
      for (const double number : file_.numbers(key)) found.push_back(static_cast<Expected>(number));
    }
    if (found != expected) refuse("{} is not what version {} has there", key, Calibration::kVersion);
  }

 private:
  gguf::File file_;
};

template <class Enum, size_t n>
std::vector<std::string> names() {
  std::vector<std::string> result;
  for (size_t i = 0; i < n; ++i) result.emplace_back(name(static_cast<Enum>(i)));
  return result;
}

void read_header(const Reader& in, const gguf::File& model, Calibration& c) {
  const gguf::File& file = in.file();
  if (file.text("general.architecture", "") != kArchitecture) in.refuse("this is no calibration");
  if (const uint64_t version = file.integer("calibration.version"); version != Calibration::kVersion) {
    in.refuse("a calibration of version {}, this program reads version {}; calibrate again", version,
              Calibration::kVersion);
  }
  c.fingerprint = file.text("calibration.model.fingerprint");
  c.model = file.text("calibration.model.name");
  if (c.fingerprint != model_fingerprint(model)) {
    fail(ErrorCode::invalid_argument, "{}: made for another model ({}) than {}; calibrate this one",
         file.path(), c.model, model.path());
  }
  c.weight_bytes = file.integer("calibration.model.weight_bytes");
  c.tokens = file.integer("calibration.tokens");
  c.window = in.small("calibration.window", 1u << 24);
  c.cost_skip = in.small("calibration.cost.skip", 1u << 24);
  c.cost_tokens = in.small("calibration.cost.tokens", 1u << 30);
  in.require_list("calibration.inputs", names<Input, kInputs>());
  in.require_list("calibration.forms", names<Form, kForms>());
  in.require_list("calibration.percentiles", std::vector<float>(kPercentiles.begin(), kPercentiles.end()));
  in.require_list("calibration.skips", std::vector<uint32_t>(kSkips.begin(), kSkips.end()));
}

void read_shape(const Reader& in, const gguf::File& model, Calibration& c) {
  const graph::Model graph = graph::load(model);
  graph::require_plain(graph, model.path(), "calibration does");
  const InputShape shape = input_shape(graph);
  const uint32_t layers = in.small("calibration.layers", 1u << 20);
  if (layers != graph.layers.size()) {
    in.refuse("it has {} layers, the model {}", layers, graph.layers.size());
  }
  const auto require = [&](const char* key, const std::array<uint32_t, kInputs>& expected) {
    const std::vector<uint32_t> found = in.small_list(key, kInputs, 1u << 30);
    for (size_t i = 0; i < kInputs; ++i) {
      if (found[i] != expected[i]) {
        in.refuse("{} of {} is {}, the model's is {}", key, name(static_cast<Input>(i)), found[i],
                  expected[i]);
      }
    }
  };
  require("calibration.widths", shape.widths);
  require("calibration.outputs", shape.outputs);
  c.widths = shape.widths;
  c.outputs = shape.outputs;
  c.layers.resize(layers);
  for (auto& layer : c.layers) {
    for (size_t i = 0; i < kInputs; ++i) {
      for (auto& basis : layer[i].outliers)
        for (OutlierStatistics& outliers : basis) outliers.counts.resize(c.widths[i]);
      for (auto& maxima : layer[i].channel_maxima) maxima.resize(c.widths[i]);
      layer[i].weight_maxima.resize(c.widths[i]);
    }
  }
}

void read_costs(const Reader& in, Calibration& c) {
  const size_t whole = in.file().integers("calibration.whole.forms").size();
  const auto forms = in.small_list("calibration.whole.forms", whole, kForms - 1);
  const auto tokens = in.small_list("calibration.whole.float_tokens", whole, 1u << 24);
  const auto kl = in.floats("calibration.whole.kl", whole);
  const auto perplexity = in.floats("calibration.whole.perplexity", whole);
  for (size_t i = 0; i < whole; ++i) {
    c.whole.push_back({static_cast<Form>(forms[i]), tokens[i], kl[i], perplexity[i]});
  }
  const uint32_t devices = in.small("calibration.times.count", 64);
  for (uint32_t i = 0; i < devices; ++i) {
    const auto key = [i](const char* field) { return fmt::format("calibration.times.{}.{}", i, field); };
    DeviceTimes times;
    times.device = in.file().text(key("device"));
    times.chunk = in.small(key("chunk"), 1u << 20);
    times.chunks = in.small(key("chunks"), 1u << 20);
    times.threads = in.small(key("threads"), 1u << 20);
    for (const std::string_view kind : in.file().texts(key("kinds"))) times.kinds.emplace_back(kind);
    times.seconds = in.floats(key("seconds"), times.kinds.size() * times.chunks);
    c.times.push_back(std::move(times));
  }
}

void read_tensor(const Reader& in, const std::string& tensor_name, const std::vector<uint64_t>& shape,
                 std::vector<float>& values) {
  const gguf::Tensor& tensor = in.file().tensor(tensor_name);
  if (tensor.encoding != Encoding::f32 || tensor.shape != shape) {
    in.refuse("tensor {} is not f32 [{}]", tensor_name, fmt::join(shape, ", "));
  }
  values.resize(tensor.elements());
  std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  for (const float value : values) {
    const bool unknown = tensor_name == "costs" && std::isnan(value);
    if (!unknown && (!std::isfinite(value) || value < 0)) in.refuse("tensor {} holds {}", tensor_name, value);
  }
}

}  // namespace

Calibration Calibration::read(const std::string& path, const gguf::File& model) {
  const Reader in(path);
  Calibration c;
  read_header(in, model, c);
  read_shape(in, model, c);
  read_costs(in, c);
  for_each_tensor(c,
                  [&](const std::string& tensor, const std::vector<uint64_t>& shape, auto get, Input input) {
                    std::vector<float> values;
                    read_tensor(in, tensor, shape, values);
                    size_t next = 0;
                    for_each_record(c, input, [&](InputRecord& record) {
                      get(record, [&](float& value) { value = values[next++]; });
                    });
                  });
  if (in.file().text("calibration.checksum") != checksum(c)) {
    in.refuse("its content disagrees with its checksum: the file is damaged");
  }
  return c;
}

}  // namespace cairn::quantize
