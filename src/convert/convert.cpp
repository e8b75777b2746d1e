#include "convert/convert.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "convert/checkpoint.hpp"
#include "convert/elements.hpp"
#include "convert/experts.hpp"
#include "convert/families.hpp"
#include "convert/general.hpp"
#include "formats/gguf_writer.hpp"

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
         !t.rule->to.ends_with("_norm.weight");
}

// Routers keep their precision: which experts are chosen hangs on small differences.
bool is_router(const PlannedTensor& t) {
  return t.rule->to.ends_with(".ffn_gate_inp.weight");
}

Encoding encoding_of(const PlannedTensor& t, Encoding matrices) {
  if (t.rule->layout == Layout::mxfp4) return Encoding::mxfp4;
  return is_matrix(t) && !is_router(t) ? matrices : Encoding::f32;
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

}  // namespace

Report convert(const std::string& folder, Type type, const std::string& path, const Progress& progress) {
  const Checkpoint checkpoint(folder);
  const Config config(checkpoint.folder());
  const Family& family = find_family(config);
  if (!family.mixture && expert_count(config).value_or(0) != 0)
    fail(ErrorCode::unsupported, "{}: {} with experts is not supported", config.path(),
         config.architecture());
  const ScaleBlock block = scale_block(config);
  const bool multimodal = config.architecture().ends_with("ForConditionalGeneration") ||
                          member(config.file(), "text_config") != nullptr;

  Metadata metadata;
  metadata.set("general.architecture", std::string(family.architecture));
  ModelMetadata model(std::string(family.architecture), metadata);
  TensorPlan plan(config);
  family.tensors(plan);
  const std::vector<PlannedTensor> tensors = match_tensors(checkpoint, plan, family.architecture, multimodal);
  const std::vector<DerivedTensor> derived =
      family.derived ? family.derived(config, model) : std::vector<DerivedTensor>();

  gguf::Writer writer;
  Report report;
  const Encoding encoding = matrix_encoding(type, tensors);
  std::vector<Encoding> encodings;
  ParameterCount parameters;
  for (const DerivedTensor& t : derived) {
    writer.add_tensor(t.name, Encoding::f32, {t.values.size()});
    parameters.shared += t.values.size();
  }
  for (const PlannedTensor& t : tensors) {
    check_scale(t, block, checkpoint.file_of(*t.source));
    encodings.push_back(encoding_of(t, encoding));
    const std::vector<uint64_t> shape = t.shape();
    writer.add_tensor(t.rule->to, encodings.back(), {shape.rbegin(), shape.rend()});
    count(t, shape, parameters);
  }
  report.parameters = parameters.total();
  general_metadata(checkpoint.folder(), config, parameters, metadata);
  family.metadata(config, model);
  const bool mxfp4 = std::ranges::find(encodings, Encoding::mxfp4) != encodings.end();
  metadata.set("general.file_type", mxfp4 ? kMostlyMxfp4 : file_type(encoding));
  metadata.set("general.quantization_version", kQuantizationVersion);
  family.vocabulary(checkpoint, config, metadata);
  for (const auto& [key, value] : metadata.all()) writer.set(key, value);

  report.architecture = family.architecture;
  report.type = info(encoding).name;
  report.tensors = derived.size() + tensors.size();
  report.bytes = writer.data_bytes();
  uint64_t done = 0;
  progress(done, report.bytes);
  writer.write(path, [&](size_t i, const gguf::Writer::Sink& sink) {
    const auto pass_on = [&](std::span<const std::byte> piece) {
      sink(piece);
      done += piece.size();
      progress(std::min(done, report.bytes), report.bytes);
    };
    if (i < derived.size()) return pass_on(std::as_bytes(std::span(derived[i].values)));
    write_elements(tensors[i - derived.size()], block, encodings[i - derived.size()], pass_on);
    if (i + 1 == report.tensors) checkpoint.require_whole();
  });
  return report;
}

}  // namespace cairn::convert
