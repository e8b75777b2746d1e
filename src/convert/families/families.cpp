#include "convert/families.hpp"

#include <cmath>
#include <numbers>

#include "base/error.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {

std::span<const Family> families() {
  static const std::vector<Family> all = [] {
    std::vector<Family> out;
    add_llama_families(out);
    add_qwen_families(out);
    add_gemma_families(out);
    add_phi_families(out);
    add_branch_families(out);
    add_mixture_families(out);
    add_granite4_families(out);
    add_nemotron_families(out);
    add_recurrent_families(out);
    add_deepseek_families(out);
    add_bert_families(out);
    add_gemma4_families(out);
    return out;
  }();
  return all;
}

const Family& find_family(const Config& config) {
  std::string known;
  for (const Family& family : families()) {
    for (const std::string_view name : family.classes) {
      if (name == config.architecture() && (!family.fits || family.fits(config))) return family;
      if (family.fits && known.ends_with(name)) continue;  // several of one class
      known += known.empty() ? "" : ", ";
      known += name;
    }
  }
  fail(ErrorCode::unsupported, "{}: architecture {} is not supported (known: {})", config.path(),
       quote(config.architecture()), known);
}

// In float32 and in the converter's order of operations: its divisions by a tensor multiply by the
// reciprocal.
std::vector<DerivedTensor> llama3_divisors(const Config& config, double otherwise) {
  if (config.rope_type() != "llama3") return {};
  const auto number = [&](const char* key, double missing) {
    return static_cast<float>(config.rope_number(key).value_or(missing));
  };
  const float base = number("rope_theta", 10000), factor = number("factor", otherwise);
  const double low = config.rope_number("low_freq_factor").value_or(1);
  const double high = config.rope_number("high_freq_factor").value_or(4);
  const double length = config.rope_number("original_max_position_embeddings").value_or(8192);
  const auto dims = static_cast<float>(config.head_size());
  DerivedTensor out{"rope_freqs.weight", {}};
  for (uint32_t i = 0; i < config.head_size(); i += 2) {
    const float frequency = 1.0F / std::pow(base, static_cast<float>(i) / dims);
    const float wavelength = 1.0F / frequency * static_cast<float>(2 * std::numbers::pi);
    if (static_cast<double>(wavelength) < length / high) {
      out.values.push_back(1);
    } else if (static_cast<double>(wavelength) > length / low) {
      out.values.push_back(factor);
    } else {
      const float turns = 1.0F / wavelength * static_cast<float>(length);
      const float smooth = (turns - static_cast<float>(low)) / static_cast<float>(high - low);
      out.values.push_back(1.0F / ((1.0F - smooth) / factor + smooth));
    }
  }
  return {out};
}

}  // namespace cairn::convert
