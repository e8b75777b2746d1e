#include "convert/elements.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.hpp"
#include "base/half.hpp"
#include "convert/experts.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

constexpr uint64_t kPieceBytes = uint64_t{2} << 20;

float from_bf16(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

// Nearest, ties to even; NaN stays one.
uint16_t to_bf16(float value) {
  auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<uint16_t>((bits >> 16) | 64U);
  return static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

// OCP 8-bit floating point, E4M3: no infinities, one NaN of each sign.
float from_e4m3(uint8_t bits) {
  const uint32_t exponent = (bits >> 3) & 15U, mantissa = bits & 7U;
  float value;
  if (exponent == 15 && mantissa == 7) {
    value = std::bit_cast<float>(0x7fc00000U);
  } else if (exponent == 0) {
    value = static_cast<float>(mantissa) / 512;
  } else {
    value = std::bit_cast<float>(((exponent + 120) << 23) | (mantissa << 20));
  }
  return (bits & 0x80U) != 0 ? -value : value;
}

template <class T, class Convert>
void each(std::span<const std::byte> in, std::vector<float>& out, const Convert& convert) {
  out.resize(in.size() / sizeof(T));
  for (size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, in.data() + i * sizeof(T), sizeof(T));
    out[i] = convert(value);
  }
}

void decode(Dtype dtype, std::span<const std::byte> in, std::vector<float>& out) {
  static const std::array<float, 256> kE4m3 = [] {
    std::array<float, 256> table{};
    for (unsigned i = 0; i < 256; ++i) table[i] = from_e4m3(static_cast<uint8_t>(i));
    return table;
  }();
  switch (dtype) {
    case Dtype::f32:
      return each<float>(in, out, [](float v) { return v; });
    case Dtype::f16:
      return each<uint16_t>(in, out, from_half);
    case Dtype::bf16:
      return each<uint16_t>(in, out, from_bf16);
    case Dtype::f8_e4m3:
      return each<uint8_t>(in, out, [](uint8_t v) { return kE4m3[v]; });
    case Dtype::other:
      break;
  }
  fail(ErrorCode::unsupported, "numbers of this kind are not read");
}

bool same(Dtype dtype, Encoding encoding) {
  return (dtype == Dtype::f32 && encoding == Encoding::f32) ||
         (dtype == Dtype::f16 && encoding == Encoding::f16) ||
         (dtype == Dtype::bf16 && encoding == Encoding::bf16);
}

uint64_t rows_of(const SourceTensor& t) {
  return t.shape.empty() ? 1 : t.shape[0];
}

uint64_t columns_of(const SourceTensor& t) {
  return t.shape.size() < 2 ? 1 : t.elements() / t.shape[0];
}

class ElementWriter {
 public:
  ElementWriter(const PlannedTensor& tensor, const ScaleBlock& block, Encoding encoding)
      : t_(*tensor.source),
        rule_(*tensor.rule),
        block_(block),
        encoding_(encoding),
        reshaped_(is_reshaped(*tensor.rule)),
        rows_(rows_of(t_)),
        columns_(columns_of(t_)) {
    if (reshaped_) {
      const OutputShape shape = output_shape(t_, rule_);
      rows_ = shape.experts * shape.rows;
      columns_ = shape.columns;
    }
    if (!tensor.scale) return;
    decode(tensor.scale->dtype, tensor.scale->data, scales_);
    if (tensor.scale->shape.size() == 2) scale_columns_ = tensor.scale->shape[1];
  }

  void run(const std::function<void(std::span<const std::byte>)>& sink) {
    const uint64_t row_bytes = columns_ * t_.element_bytes;
    const uint64_t step = std::max<uint64_t>(1, kPieceBytes / std::max<uint64_t>(1, row_bytes));
    for (uint64_t row = 0; row < rows_; row += step) {
      const uint64_t rows = std::min(step, rows_ - row);
      const auto piece = gather(row, rows, row_bytes);
      if (same(t_.dtype, encoding_) && rule_.layout != Layout::plus_one &&
          rule_.layout != Layout::minus_exp) {
        sink(piece);
      } else {
        sink(converted(piece, row));
      }
    }
  }

 private:
  // The checkpoint's row that becomes `row`.
  uint64_t source_row(uint64_t row) const {
    if (rule_.turns.any()) return rule_.turns.columns ? row : rule_.turns.source(row);
    if (rule_.layout != Layout::neighbours) return row;
    const uint64_t size = rows_of(t_) / rule_.heads, in_head = row % size;
    return row - in_head + in_head % 2 * (size / 2) + in_head / 2;
  }

  SourcePlace source_place(uint64_t row, uint64_t column) const {
    if (is_of_heads(rule_)) return place_in_heads(t_, rule_, row, column);
    return {source_row(row), rule_.turns.columns ? rule_.turns.source(column) : column};
  }

  std::span<const std::byte> gather(uint64_t row, uint64_t rows, uint64_t row_bytes) {
    if (reshaped_) {
      gather_outputs(t_, rule_, row, rows, gathered_);
      return gathered_;
    }
    if (rule_.layout != Layout::neighbours && !rule_.turns.any())
      return t_.data.subspan(row * row_bytes, rows * row_bytes);
    gathered_.resize(rows * row_bytes);
    if (rule_.turns.any() && rule_.turns.columns) {
      gather_columns(row, rows, row_bytes);
      return gathered_;
    }
    for (uint64_t i = 0; i < rows; ++i)
      std::memcpy(gathered_.data() + i * row_bytes, t_.data.data() + source_row(row + i) * row_bytes,
                  row_bytes);
    return gathered_;
  }

  void gather_columns(uint64_t row, uint64_t rows, uint64_t row_bytes) {
    const size_t each = t_.element_bytes;
    for (uint64_t i = 0; i < rows; ++i) {
      const std::byte* from = t_.data.data() + (row + i) * row_bytes;
      std::byte* to = gathered_.data() + i * row_bytes;
      for (uint64_t c = 0; c < columns_; ++c)
        std::memcpy(to + c * each, from + rule_.turns.source(c) * each, each);
    }
  }

  std::span<const std::byte> converted(std::span<const std::byte> piece, uint64_t row) {
    decode(t_.dtype, piece, values_);
    if (!scales_.empty()) scale(row);
    if (rule_.layout == Layout::plus_one) {
      // The converter adds in the checkpoint's precision where that is f16.
      for (float& value : values_) value = t_.dtype == Dtype::f16 ? round_to_half(value + 1) : value + 1;
    }
    if (rule_.layout == Layout::minus_exp) {
      for (float& value : values_) {
        const float decay = -std::exp(value);
        value = t_.dtype == Dtype::f16 ? round_to_half(decay) : decay;
      }
    }
    if (encoding_ == Encoding::f32) return std::as_bytes(std::span(values_));
    halves_.resize(values_.size());
    std::transform(values_.begin(), values_.end(), halves_.begin(),
                   encoding_ == Encoding::f16 ? to_half : to_bf16);
    return std::as_bytes(std::span(halves_));
  }

  void scale(uint64_t row) {
    for (size_t i = 0; i < values_.size(); ++i) {
      const auto [at, column] = source_place(row + i / columns_, i % columns_);
      size_t which = 0;
      if (block_.rows != 0 && scales_.size() > 1) {
        which = at / block_.rows * scale_columns_ + column / block_.columns;
      } else if (scales_.size() > 1) {
        which = at;
      }
      values_[i] *= scales_[which];
    }
  }

  const SourceTensor& t_;
  const TensorRule& rule_;
  ScaleBlock block_;
  Encoding encoding_;
  bool reshaped_;
  uint64_t rows_, columns_, scale_columns_ = 1;
  std::vector<float> scales_, values_;
  std::vector<std::byte> gathered_;
  std::vector<uint16_t> halves_;
};

}  // namespace

ScaleBlock scale_block(const Config& config) {
  const Json* how = config.find("quantization_config");
  if (!how) return {};
  const std::string method = text_of(*how, "quant_method");
  if (method == "mxfp4" && config.architecture() == "GptOssForCausalLM") return {};  // experts alone are
  const Json* sizes = member(*how, "weight_block_size");
  if (method == "compressed-tensors") {
    const std::string format = text_of(*how, "format");
    const Json* groups = member(*how, "config_groups");
    if (format != "float-quantized" || !groups || groups->size() != 1)
      fail(ErrorCode::unsupported,
           "{}: weights quantized as {} are not read (float-quantized in one group is)", config.path(),
           quote(format));
    const Json* weights = member(*groups->begin(), "weights");
    sizes = weights ? member(*weights, "block_structure") : nullptr;
  } else if (method != "fp8" && method != "modelopt") {
    fail(ErrorCode::unsupported,
         "{}: weights quantized by {} are not read (fp8, compressed-tensors and modelopt are)", config.path(),
         quote(method));
  }
  if (!sizes) return {0, 0, true};
  const auto is_size = [](const Json& n) { return n.is_number_unsigned() && n > 0U && n <= UINT32_MAX; };
  if (!sizes->is_array() || sizes->size() != 2 || !is_size((*sizes)[0]) || !is_size((*sizes)[1]))
    config.error("quantization_config", "has a block size that is not two whole numbers");
  return {(*sizes)[0].get<uint64_t>(), (*sizes)[1].get<uint64_t>(), true};
}

void check_scale(const PlannedTensor& tensor, const ScaleBlock& block, const std::string& file) {
  if (tensor.rule->layout == Layout::mxfp4) return;  // match_tensors() has
  for (const PlannedTensor& expert : tensor.experts) check_scale(expert, block, file);
  if (!tensor.experts.empty()) return;
  if (!tensor.scale) {
    if (block.scaled && tensor.source->dtype == Dtype::f8_e4m3)
      fail(ErrorCode::format, "{}: tensor {} has no scale, but config.json says that weights are quantized",
           file, quote(tensor.source->name));
    return;
  }
  const SourceTensor &t = *tensor.source, &scale = *tensor.scale;
  const uint64_t rows = rows_of(t), columns = columns_of(t);
  if (scale.elements() == 1) return;
  if (!is_reshaped(*tensor.rule) || is_of_heads(*tensor.rule)) {
    using Shape = std::vector<uint64_t>;
    if (block.rows == 0 && (scale.shape == Shape{rows} || scale.shape == Shape{rows, 1})) return;
    if (block.rows != 0 && scale.shape == Shape{(rows + block.rows - 1) / block.rows,
                                                (columns + block.columns - 1) / block.columns})
      return;
  }
  fail(ErrorCode::format, "{}: tensor {} of shape {} has scales of shape {}, which fit it in no known way",
       file, quote(t.name), shape_text(t.shape), shape_text(scale.shape));
}

bool keeps_bytes(const PlannedTensor& tensor, Encoding encoding) {
  constexpr uintptr_t kAlignment = 8;  // the least that GGUF has
  const SourceTensor& t = *tensor.source;
  return same(t.dtype, encoding) && !tensor.scale && tensor.experts.empty() &&
         tensor.rule->layout == Layout::plain && !is_reshaped(*tensor.rule) && !tensor.rule->turns.any() &&
         reinterpret_cast<uintptr_t>(t.data.data()) % kAlignment == 0;
}

void write_elements(const PlannedTensor& tensor, const ScaleBlock& block, Encoding encoding,
                    const std::function<void(std::span<const std::byte>)>& sink) {
  if (tensor.rule->layout == Layout::mxfp4) return write_mxfp4(tensor, sink);
  for (const PlannedTensor& expert : tensor.experts) ElementWriter(expert, block, encoding).run(sink);
  if (tensor.experts.empty()) ElementWriter(tensor, block, encoding).run(sink);
}

}  // namespace cairn::convert
