#include "encode/encode.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <string_view>

#include "base/error.hpp"
#include "base/interruptible.hpp"
#include "encode/mix.hpp"
#include "formats/gguf_writer.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/quantize.hpp"

namespace cairn::encode {
namespace {

constexpr uint32_t kQuantizationVersion = 2;     // ggml's GGML_QNT_VERSION: the layout of blocks
constexpr size_t kBatchBytes = size_t{8} << 20;  // of blocks between two writes
constexpr float kLargestHalf = 65504;

bool is_float(Encoding encoding) {
  return info(encoding).block_elements == 1;
}

// Whether a scale, or the number itself, is a half.
bool keeps_halves(Encoding encoding) {
  return encoding != Encoding::f32 && encoding != Encoding::bf16 && encoding != Encoding::mxfp4;
}

// The importance of a tensor's columns, of its experts one after the other; null: none.
const std::vector<float>* importance_of(const gguf::File& file, const gguf::Tensor& tensor,
                                        const Importance* importance) {
  const std::vector<float>* columns = importance == nullptr ? nullptr : importance->find(tensor.name);
  if (columns == nullptr) return nullptr;
  const uint64_t experts = tensor.shape.size() > 2 ? tensor.rows() / tensor.shape[1] : 1;
  if (columns->size() == tensor.row_elements() * experts) return columns;
  fail(ErrorCode::invalid_argument,
       "{}: tensor '{}' has {} columns for {} experts, the importance of it {} values", file.path(),
       tensor.name, tensor.row_elements(), experts, columns->size());
}

bool replaced(std::string_view key) {
  return key == "general.alignment" || key == "general.file_type" || key == "general.quantization_version" ||
         key.starts_with("split.") || key.starts_with("quantize.imatrix.");
}

void set_metadata(gguf::Writer& writer, const gguf::File& file, const EncodeOptions& options) {
  for (const auto& [key, raw] : file.raw_metadata())
    if (!replaced(key)) writer.set(std::string(key), gguf::RawValue{{raw.begin(), raw.end()}});
  writer.set("general.file_type", options.type->number);
  writer.set("general.quantization_version", kQuantizationVersion);
  const Importance* importance = options.importance;
  if (importance == nullptr) return;
  if (!importance->file.empty()) writer.set("quantize.imatrix.file", importance->file);
  if (!importance->dataset.empty()) writer.set("quantize.imatrix.dataset", importance->dataset);
  writer.set("quantize.imatrix.entries_count", static_cast<uint32_t>(importance->columns.size()));
  if (importance->chunks > 0) writer.set("quantize.imatrix.chunks_count", importance->chunks);
}

// Encodes rows of one tensor on all threads; rows that cannot be are told afterwards.
class Rows {
 public:
  Rows(const gguf::File& file, const gguf::Tensor& tensor, Encoding to, const Importance* importance,
       ThreadPool& pool, std::vector<std::vector<float>>& scratch)
      : file_(file),
        tensor_(tensor),
        to_(to),
        importance_(importance_of(file, tensor, importance)),
        pool_(pool),
        scratch_(scratch),
        from_(kernels::kernel_set(kernels::default_target()).encoding(tensor.encoding)),
        quantize_(kernels::find_quantizer(to, kernels::default_target())),
        row_bytes_(tensor.row_elements() / info(to).block_elements * info(to).block_bytes) {}

  uint64_t row_bytes() const { return row_bytes_; }

  // blocks: null where the rows are only looked at, because they stay as they are.
  void encode(uint64_t first, uint64_t count, std::byte* blocks) {
    const size_t width = tensor_.row_elements();
    const uint64_t at_once = std::max<uint64_t>(1, 4096 / width);  // so that a task is worth handing out
    bad_ = std::numeric_limits<uint64_t>::max();
    run_interruptible(pool_, (count + at_once - 1) / at_once, [&](size_t thread, size_t task) {
      std::vector<float>& x = scratch_[thread];
      x.resize(width);
      for (uint64_t r = task * at_once; r < std::min(count, (task + 1) * at_once); ++r) {
        from_.dequantize(tensor_.data.data() + (first + r) * tensor_.row_bytes(), width, x.data());
        if (first_bad(x) < width) {
          note(first + r);
          continue;
        }
        if (blocks != nullptr) quantize_(x.data(), importance(first + r), width, blocks + r * row_bytes_);
      }
    });
    if (bad_ != std::numeric_limits<uint64_t>::max()) tell(bad_);
  }

 private:
  const float* importance(uint64_t row) const {
    if (importance_ == nullptr) return nullptr;
    return importance_->data() + (tensor_.shape.size() > 2 ? row / tensor_.shape[1] * tensor_.shape[0] : 0);
  }
  size_t first_bad(const std::vector<float>& x) const {
    const float most =
        to_ != tensor_.encoding && keeps_halves(to_) ? kLargestHalf : std::numeric_limits<float>::max();
    bool bad = false;
    for (const float value : x) bad |= !(std::abs(value) <= most);
    if (!bad) return x.size();
    return static_cast<size_t>(
        std::find_if(x.begin(), x.end(), [&](float value) { return !(std::abs(value) <= most); }) -
        x.begin());
  }
  void note(uint64_t row) {
    uint64_t before = bad_.load();
    while (row < before && !bad_.compare_exchange_weak(before, row)) {
    }
  }
  [[noreturn]] void tell(uint64_t row) const {
    std::vector<float> x(tensor_.row_elements());
    from_.dequantize(tensor_.data.data() + row * tensor_.row_bytes(), x.size(), x.data());
    file_.require_whole();
    const size_t column = first_bad(x);
    if (column < x.size() && std::isfinite(x[column]))
      fail(ErrorCode::numeric,
           "{}: tensor '{}', row {}, column {}: {} is beyond {}, the largest that {} can keep", file_.path(),
           tensor_.name, row, column, x[column], kLargestHalf, info(to_).name);
    fail(ErrorCode::numeric, "{}: tensor '{}', row {}, column {}: {} is no number to quantise", file_.path(),
         tensor_.name, row, column, column < x.size() ? x[column] : 0);
  }

  const gguf::File& file_;
  const gguf::Tensor& tensor_;
  Encoding to_;
  const std::vector<float>* importance_;
  ThreadPool& pool_;
  std::vector<std::vector<float>>& scratch_;
  const kernels::EncodingKernels& from_;
  kernels::Quantize quantize_;
  uint64_t row_bytes_;
  std::atomic<uint64_t> bad_ = 0;
};

void require_model(const gguf::File& file) {
  if (file.stack_region())
    fail(ErrorCode::unsupported, "{}: is a stack; cairn trim --dequantize makes an ordinary file of it first",
         file.path());
  if (file.tensors().empty()) fail(ErrorCode::unsupported, "{}: holds no tensors", file.path());
}

}  // namespace

EncodeReport plan(const gguf::File& file, const EncodeOptions& options) {
  require_model(file);
  const std::vector<Choice> choices =
      choose_encodings(file, *options.type, options.importance != nullptr, options.pure);
  EncodeReport report;
  report.tensors = choices.size();
  uint64_t needing = 0;
  size_t first_needing = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    const gguf::Tensor& tensor = file.tensors()[i];
    const Encoding encoding = choices[i].encoding;
    const std::optional<Encoding> wanted = choices[i].wanted;
    const EncodingInfo& e = info(encoding);
    report.parameters += tensor.elements();
    report.bytes += tensor.elements() / e.block_elements * e.block_bytes;
    report.source_bytes += tensor.data.size();
    ++report.encodings[encoding];
    if (wanted)
      report.fallbacks.push_back({std::string(tensor.name), tensor.row_elements(), *wanted, encoding});
    if (encoding == tensor.encoding) continue;
    if (kernels::find_quantizer(encoding, kernels::default_target()) == nullptr)
      fail(ErrorCode::unsupported, "{}: tensor '{}': cairn reads {}, but does not write it", file.path(),
           tensor.name, e.name);
    if (!is_float(tensor.encoding)) ++report.requantized;
    const bool important = importance_of(file, tensor, options.importance) != nullptr;
    if (!important && choices[i].needs_importance && needing++ == 0) first_needing = i;
    if (options.importance != nullptr && !is_float(encoding) && !important)
      report.unimportant.emplace_back(tensor.name);
  }
  if (needing > 0 && !options.importance_follows)
    fail(ErrorCode::invalid_argument,
         "{}: {} needs importance (--text or --imatrix){}: tensor '{}' would be {}, {} more alike",
         file.path(), options.type->name,
         options.importance == nullptr ? "" : ", and what is given lacks some",
         file.tensors()[first_needing].name, info(choices[first_needing].encoding).name, needing - 1);
  return report;
}

EncodeReport encode(const gguf::File& file, const EncodeOptions& options, const std::string& path,
                    ThreadPool& pool, const std::function<void(uint64_t, uint64_t)>& progress) {
  EncodeReport report = plan(file, options);
  const std::vector<Choice> choices =
      choose_encodings(file, *options.type, options.importance != nullptr, options.pure);
  gguf::Writer writer;
  set_metadata(writer, file, options);
  for (size_t i = 0; i < choices.size(); ++i)
    writer.add_tensor(std::string(file.tensors()[i].name), choices[i].encoding, file.tensors()[i].shape);
  std::vector<std::vector<float>> scratch(pool.threads());
  std::vector<std::byte> blocks;
  uint64_t done = 0;
  const auto advance = [&](uint64_t elements) {
    throw_if_interrupted();
    file.require_whole();  // or zeros in place of what was cut would be written
    done += elements;
    if (progress) progress(done, report.parameters);
  };
  writer.write(path, [&](size_t i, const gguf::Writer::Sink& sink) {
    const gguf::Tensor& tensor = file.tensors()[i];
    file.require_whole();
    const bool same = tensor.encoding == choices[i].encoding;
    Rows rows(file, tensor, choices[i].encoding, options.importance, pool, scratch);
    const uint64_t batch = std::max<uint64_t>(1, kBatchBytes / rows.row_bytes());
    for (uint64_t first = 0; first < tensor.rows(); first += batch) {
      const uint64_t count = std::min(batch, tensor.rows() - first);
      if (!same) blocks.resize(count * rows.row_bytes());
      rows.encode(first, count, same ? nullptr : blocks.data());
      sink(same ? tensor.data.subspan(first * rows.row_bytes(), count * rows.row_bytes())
                : std::span<const std::byte>(blocks));
      advance(count * tensor.row_elements());
    }
  });
  return report;
}

}  // namespace cairn::encode
