#include <algorithm>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "convert/conversion.hpp"
#include "convert/experts.hpp"
#include "convert/general.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

// llama.cpp's numbers of files' types (LlamaFileType), and of the way its blocks are laid out.
constexpr uint32_t kAllF32 = 0, kMostlyF16 = 1, kMostlyBf16 = 32, kMostlyMxfp4 = 38, kQuantizationVersion = 2;

Encoding matrix_encoding(Type type, const std::vector<PlannedTensor>& tensors) {
  if (type == Type::f32) return Encoding::f32;
  if (type == Type::f16) return Encoding::f16;
  if (type == Type::bf16) return Encoding::bf16;
  for (const PlannedTensor& t : tensors) {
    if (t.source->shape.size() < 2) continue;
    if (t.source->dtype == Dtype::bf16) return Encoding::bf16;
    if (t.source->dtype == Dtype::f16) return Encoding::f16;
  }
  return Encoding::f16;
}

bool is_matrix(const PlannedTensor& t) {
  return t.source->shape.size() > 1 && t.rule->to.ends_with(".weight") &&
         !t.rule->to.ends_with("_norm.weight") && t.rule->to != "position_embd.weight" &&
         t.rule->to != "token_types.weight";
}

// Routers keep their precision: which experts are chosen hangs on small differences. So do convolutions.
bool stays_float(const PlannedTensor& t) {
  const std::string& to = t.rule->to;
  return to.ends_with(".ffn_gate_inp.weight") || to.ends_with(".ffn_gate_inp_shexp.weight") ||
         to.ends_with(".ssm_conv1d.weight") || to.ends_with(".shortconv.conv.weight");
}

Encoding encoding_of(const PlannedTensor& t, Encoding matrices) {
  if (t.rule->layout == Layout::mxfp4) return Encoding::mxfp4;
  return is_matrix(t) && !stays_float(t) ? matrices : Encoding::f32;
}

uint32_t file_type(Encoding encoding) {
  return encoding == Encoding::f32 ? kAllF32 : encoding == Encoding::f16 ? kMostlyF16 : kMostlyBf16;
}

// As the converter counts: a mixture's experts are told apart by their tensors' names.
void count(const PlannedTensor& t, const std::vector<uint64_t>& shape, ParameterCount& out) {
  uint64_t elements = 1;
  for (const uint64_t length : shape) elements *= length;
  const bool of_experts = shape.size() > 2 && t.rule->to.find("_exps.") != std::string::npos;
  (of_experts ? out.routed : out.shared) += elements;
  if (of_experts) out.experts = shape[0];
}

// No file says which function a feed-forward part has: the architecture does.
void check_activation(const Config& config, std::string_view architecture) {
  const char* key = config.find("hidden_activation") ? "hidden_activation" : "hidden_act";
  const std::string found = config.text(key);
  if (found.empty() || architecture == "bert") return;  // bert.cpp has
  const bool gelu = architecture.starts_with("gemma") || architecture == "phi2";
  const std::vector<std::string_view> known =
      gelu ? std::vector<std::string_view>{"gelu_pytorch_tanh", "gelu_new", "gelu_fast"}
           : std::vector<std::string_view>{"silu", "swish"};
  // Gemma's first files say "gelu" and mean the other.
  if (std::ranges::find(known, found) != known.end() || (architecture == "gemma" && found == "gelu")) return;
  fail(ErrorCode::unsupported, "{}: {} {} is not supported ('{}' is)", config.path(), key, quote(found),
       known.front());
}

const Family& supported_family(const Config& config) {
  const Family& family = find_family(config);
  check_activation(config, family.architecture);
  if (!family.mixture && expert_count(config).value_or(0) != 0)
    fail(ErrorCode::unsupported, "{}: {} with experts is not supported", config.path(),
         config.architecture());
  return family;
}

}  // namespace

Conversion::Conversion(const std::string& folder, Type type)
    : checkpoint_(folder),
      config_(checkpoint_.folder()),
      family_(supported_family(config_)),
      block_(scale_block(config_)),
      plan_(config_) {
  const bool multimodal = config_.architecture().ends_with("ForConditionalGeneration") ||
                          member(config_.file(), "text_config") != nullptr;
  metadata_.set("general.architecture", std::string(family_.architecture));
  ModelMetadata model(std::string(family_.architecture), metadata_);
  family_.tensors(plan_);
  planned_ = match_tensors(checkpoint_, plan_, family_.architecture, multimodal);
  if (family_.derived) derived_ = family_.derived(config_, model);

  const Encoding encoding = matrix_encoding(type, planned_);
  bool mxfp4 = false;
  ParameterCount parameters;
  for (const DerivedTensor& t : derived_) {
    add(t.name, Encoding::f32, {t.values.size()}, {});
    parameters.shared += t.values.size();
  }
  for (const PlannedTensor& t : planned_) {
    check_scale(t, block_, checkpoint_.file_of(*t.source));
    const Encoding own = encoding_of(t, encoding);
    mxfp4 |= own == Encoding::mxfp4;
    const std::vector<uint64_t> shape = t.shape();
    add(t.rule->to, own, {shape.rbegin(), shape.rend()},
        keeps_bytes(t, own) ? t.source->data : std::span<const std::byte>());
    count(t, shape, parameters);
  }
  report_.architecture = family_.architecture;
  report_.type = info(encoding).name;
  report_.tensors = outputs_.size();
  report_.parameters = parameters.total();
  report_.bytes = writer_.data_bytes();
  general_metadata(checkpoint_.folder(), config_, parameters, metadata_);
  family_.metadata(config_, model);
  metadata_.set("general.file_type", mxfp4 ? kMostlyMxfp4 : file_type(encoding));
  metadata_.set("general.quantization_version", kQuantizationVersion);
  family_.vocabulary(checkpoint_, config_, metadata_);
  for (const auto& [key, value] : metadata_.all()) writer_.set(key, value);
}

void Conversion::add(std::string name, Encoding encoding, std::vector<uint64_t> shape,
                     std::span<const std::byte> unchanged) {
  writer_.add_tensor(name, encoding, shape);
  outputs_.push_back({std::move(name), encoding, std::move(shape), unchanged});
}

void Conversion::write(size_t i, const Sink& sink) const {
  if (i < derived_.size()) return sink(std::as_bytes(std::span(derived_[i].values)));
  write_elements(planned_[i - derived_.size()], block_, outputs_[i].encoding, sink);
}

Report convert(const std::string& folder, Type type, const std::string& path, const Progress& progress) {
  const Conversion conversion(folder, type);
  const Report& report = conversion.report();
  uint64_t done = 0;
  progress(done, report.bytes);
  conversion.writer().write(path, [&](size_t i, const gguf::Writer::Sink& sink) {
    conversion.write(i, [&](std::span<const std::byte> piece) {
      sink(piece);
      done += piece.size();
      progress(std::min(done, report.bytes), report.bytes);
    });
    if (i + 1 == report.tensors) conversion.checkpoint().require_whole();
  });
  return report;
}

}  // namespace cairn::convert
