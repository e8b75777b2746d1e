// Each mistake in a checkpoint ends in one line that names the file, the place and the reason, and nothing is
// written.
#include <gtest/gtest.h>

#include "base/expect_error.hpp"
#include "convert/convert.hpp"
#include "copied_checkpoint.hpp"

namespace cairn::convert {
namespace {

namespace fs = std::filesystem;
using cairn::testing::CopiedCheckpoint;
using cairn::testing::TemporaryFolder;
using cairn::testing::write_file;
using Json = nlohmann::json;

void refuse(ErrorCode code, const std::string& part, const std::string& folder) {
  const TemporaryFolder out;
  cairn::testing::expect_error(
      code, part, [&] { convert(folder, Type::automatic, out / "out.gguf", [](uint64_t, uint64_t) {}); });
  EXPECT_EQ(out.entries(), 0u);
}
void refuse(ErrorCode code, const std::string& part, const CopiedCheckpoint& checkpoint) {
  refuse(code, part, checkpoint.path());
}

void refuse_config(const std::string& part, const std::function<void(Json&)>& change,
                   ErrorCode code = ErrorCode::format, const char* name = "qwen2") {
  const CopiedCheckpoint checkpoint(name);
  checkpoint.edit("config.json", change);
  refuse(code, part, checkpoint);
}

void refuse_file(const std::string& part, const char* file, const std::function<void(Json&)>& change,
                 ErrorCode code = ErrorCode::format, const char* name = "qwen2") {
  const CopiedCheckpoint checkpoint(name);
  checkpoint.edit(file, change);
  refuse(code, part, checkpoint);
}

TEST(BadCheckpoint, FoldersAndShards) {
  const TemporaryFolder empty;
  refuse(ErrorCode::not_found, "no such folder", empty / "nowhere");
  refuse(ErrorCode::not_found, "holds no model.safetensors", empty.path());
  write_file(empty / "pytorch_model.bin", "x");
  refuse(ErrorCode::unsupported, "holds pytorch_model.bin, which is not read", empty.path());
  refuse(ErrorCode::invalid_argument, "is no folder", empty / "pytorch_model.bin");

  const CopiedCheckpoint shards("llama-spm");
  const std::string index = "model.safetensors.index.json", second = "model-00002-of-00002.safetensors";
  fs::rename(shards / second, shards / "away");
  refuse(ErrorCode::not_found, index + ": names '" + second + "', which is not in the folder", shards);
  fs::copy(shards / "model-00001-of-00002.safetensors", shards / second);
  refuse(ErrorCode::format, "is in " + (shards / "model-00001-of-00002.safetensors") + " too", shards);
  fs::rename(shards / "away", shards / second);
  shards.edit(index, [&](Json& j) { j["weight_map"]["model.more"] = second; });
  refuse(ErrorCode::format, "tensor 'model.more' is not in '" + second, shards);
  shards.edit(index, [&](Json& j) {
    j["weight_map"].erase("model.more");
    j["weight_map"].erase("model.norm.weight");
  });
  refuse(ErrorCode::format, "tensor 'model.norm.weight' is not in the index", shards);
  shards.edit(index, [&](Json& j) { j["weight_map"]["model.norm.weight"] = "../" + second; });
  refuse(ErrorCode::format, "is no file's name", shards);
  shards.edit(index, [&](Json& j) { j.erase("weight_map"); });
  refuse(ErrorCode::format, "has no weight_map", shards);
  write_file(shards / index, "{");
  refuse(ErrorCode::format, index + ": byte 2: is not JSON", shards);
}

TEST(BadCheckpoint, Config) {
  {
    const CopiedCheckpoint checkpoint("qwen2");
    write_file(checkpoint / "config.json", "{\"a\": }");
    refuse(ErrorCode::format, "config.json: byte 7: is not JSON", checkpoint);
    write_file(checkpoint / "config.json", "[1]");
    refuse(ErrorCode::format, "config.json: is JSON, but not an object", checkpoint);
    fs::remove(checkpoint / "config.json");
    refuse(ErrorCode::not_found, "config.json", checkpoint);
  }
  refuse_config("names no architecture", [](Json& j) { j.erase("architectures"); });
  refuse_config(
      "architecture 'MambaForCausalLM' is not supported (known: LlamaForCausalLM",
      [](Json& j) { j["architectures"] = {"MambaForCausalLM"}; }, ErrorCode::unsupported);
  refuse_config("is 15, no multiple of the 4 attention heads", [](Json& j) { j["hidden_size"] = 15; });
  refuse_config(
      "head_dim is 3, but RoPE turns pairs", [](Json& j) { j["head_dim"] = 3; }, ErrorCode::format, "llama3");
  {
    const CopiedCheckpoint deep("qwen2");
    write_file(deep / "config.json", R"({"hidden_size": )" + std::string(1000000, '['));
    refuse(ErrorCode::format, "config.json: is nested more than 64 deep", deep);
  }
  refuse_config("hidden_size is missing", [](Json& j) { j.erase("hidden_size"); });
  refuse_config("hidden_size is 0, expected 1 to", [](Json& j) { j["hidden_size"] = 0; });
  refuse_config("hidden_size is '\"16\"', expected a whole number", [](Json& j) { j["hidden_size"] = "16"; });
  refuse_config("num_hidden_layers is 1000000, more than 4096",
                [](Json& j) { j["num_hidden_layers"] = 1000000; });
  refuse_config("is 4, no multiple of the 3 key-value heads", [](Json& j) { j["num_key_value_heads"] = 3; });
  refuse_config("rms_norm_eps is '\"small\"', expected a number",
                [](Json& j) { j["rms_norm_eps"] = "small"; });
  refuse_config(
      "RoPE scaling 'spiral' is not supported",
      [](Json& j) {
        j["rope_scaling"] = {{"type", "spiral"}};
      },
      ErrorCode::unsupported);
  refuse_config("lacks original_max_position_embeddings", [](Json& j) {
    j["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4}};
  });
  refuse_config("rope_parameters is no object", [](Json& j) { j["rope_scaling"] = 4; });
  refuse_config(
      "Qwen2ForCausalLM with experts is not supported",
      [](Json& j) {
        j["num_experts"] = 8;
        j["num_experts_per_tok"] = 2;
      },
      ErrorCode::unsupported);
  refuse_config(
      "weights quantized by 'awq' are not read",
      [](Json& j) {
        j["quantization_config"] = {{"quant_method", "awq"}};
      },
      ErrorCode::unsupported);
  refuse_config(
      "layer_types does not list 4 layers", [](Json& j) { j["layer_types"] = {"full_attention"}; },
      ErrorCode::format, "olmo3");
  refuse_config(
      "lacks short_factor of 2 numbers", [](Json& j) { j["rope_scaling"]["short_factor"] = {1.0}; },
      ErrorCode::format, "phi3");
  refuse_config(
      "original_max_position_embeddings is 1, too few for LongRoPE",
      [](Json& j) { j["original_max_position_embeddings"] = 1; }, ErrorCode::format, "phi3");
}

TEST(BadCheckpoint, SizesThatFollowFromOthers) {
  for (const double part : {-1.0, 0.0, 1e30}) {
    refuse_config(
        "partial_rotary_factor is ",
        [&](Json& j) { j["text_config"]["rope_parameters"]["partial_rotary_factor"] = part; },
        ErrorCode::format, "qwen35");
  }
  // Of it, RoPE's divisors are made, of as many numbers.
  refuse_config(
      "global_head_dim is 2147483646, expected 1 to ", [](Json& j) { j["global_head_dim"] = 2147483646; },
      ErrorCode::format, "gemma4");
  refuse_config(
      "rope_theta is '1e+300', expected a number",
      [](Json& j) { j["rope_parameters"]["sliding_attention"]["rope_theta"] = 1e300; }, ErrorCode::format,
      "gemma4");
}

TEST(BadCheckpoint, Pooling) {
  const auto pooling = [](const std::string& part, const char* file,
                          const std::function<void(Json&)>& change) {
    refuse_file(part, file, change, ErrorCode::unsupported, "bert");
  };
  pooling("pools in several ways at once", "1_Pooling/config.json",
          [](Json& j) { j["pooling_mode_max_tokens"] = true; });
  pooling("pools in another way", "1_Pooling/config.json",
          [](Json& j) { j["pooling_mode_mean_tokens"] = false; });
  const CopiedCheckpoint dense("bert");
  write_file(dense / "modules.json",
             R"([{"type": "sentence_transformers.models.Transformer", "path": ""},
                 {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
                 {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}])");
  refuse(ErrorCode::unsupported, "a module 'sentence_transformers.models.Dense' is not supported", dense);
}

TEST(BadCheckpoint, ConfigAndTensorsDisagree) {
  refuse_config("tensor 'model.layers.0.mlp.down_proj.weight' has shape [16, 24], ",
                [](Json& j) { j["intermediate_size"] = 32; });
  refuse_config("has no place in a model of 1 layers of architecture 'qwen2'",
                [](Json& j) { j["num_hidden_layers"] = 1; });
  refuse_config("tensor 'model.layers.2.", [](Json& j) { j["num_hidden_layers"] = 3; });
  refuse_config("tensor 'lm_head.weight' is missing", [](Json& j) { j["tie_word_embeddings"] = false; });
  const auto renamed = [](const std::string& part, const std::string& from, const std::string& to,
                          const char* name = "qwen2") {
    const CopiedCheckpoint checkpoint(name);
    checkpoint.rename(from, to);
    refuse(ErrorCode::format, part, checkpoint);
  };
  renamed("tensor 'model.extra.weight' has no place", "model.norm.weight", "model.extra.weight");
  // A derived table is passed over, so that the tensor is missing.
  renamed("tensor 'model.norm.weight' is missing", "model.norm.weight", "model.rotary_emb.inv_freq");
  renamed("tensor 'model.layers.1.self_attn.q_proj.bias' is missing", "model.layers.1.self_attn.q_proj.bias",
          "model.rotary_emb.inv_freq");
  renamed("'model.layers.1.mlp.up_proj.bias' is missing, which other layers have",
          "model.layers.1.mlp.up_proj.bias", "model.rotary_emb.inv_freq", "granite");
}

TEST(BadCheckpoint, Numbers) {
  const CopiedCheckpoint integers("qwen2");
  integers.edit_header([](Json& header) { header["model.embed_tokens.weight"]["dtype"] = "I16"; });
  refuse(ErrorCode::unsupported, "numbers of kind I16 are not read", integers);
  const CopiedCheckpoint scaled("qwen3-fp8");
  scaled.edit("config.json", [](Json& j) { j["quantization_config"]["weight_block_size"] = {4, 4}; });
  refuse(ErrorCode::format, "which fit it in no known way", scaled);
  scaled.edit("config.json", [](Json& j) { j["quantization_config"]["weight_block_size"] = {0, 4}; });
  refuse(ErrorCode::format, "has a block size that is not two whole numbers", scaled);
  // Rounding up to whole blocks must not overflow.
  scaled.edit("config.json", [](Json& j) {
    j["quantization_config"]["weight_block_size"] = {UINT64_MAX, 4};
  });
  refuse(ErrorCode::format, "has a block size that is not two whole numbers", scaled);
  const CopiedCheckpoint bare("qwen3-fp8");
  bare.rename("model.layers.0.mlp.down_proj.weight_scale_inv", "model.rotary_emb.inv_freq");
  refuse(ErrorCode::format, "'model.layers.0.mlp.down_proj.weight' has no scale", bare);
}

TEST(BadCheckpoint, Tokenizer) {
  const char* const file = "tokenizer.json";
  {
    const CopiedCheckpoint checkpoint("qwen2");
    write_file(checkpoint / file, "{\"model\": ");
    refuse(ErrorCode::format, "tokenizer.json: byte 11: is not JSON", checkpoint);
    fs::remove(checkpoint / file);
    refuse(ErrorCode::not_found, "tokenizer.json: is not there, and no other tokenizer", checkpoint);
  }
  refuse_file("has no model", file, [](Json& j) { j.erase("model"); });
  refuse_file(
      "tokenizers of kind 'Unigram' are not supported", file, [](Json& j) { j["model"]["type"] = "Unigram"; },
      ErrorCode::unsupported);
  refuse_file("has no vocab", file, [](Json& j) { j["model"]["vocab"] = Json::object(); });
  refuse_file("has no merges", file, [](Json& j) { j["model"]["merges"] = Json::array(); });
  refuse_file("merge 0 is neither a text nor two", file, [](Json& j) { j["model"]["merges"] = {7}; });
  refuse_file("a token's id is '-1', expected a whole number", file,
              [](Json& j) { j["model"]["vocab"]["new"] = -1; });
  refuse_file("both have id 5", file, [](Json& j) { j["model"]["vocab"]["new"] = 5; });
  refuse_file("token 'new' has id 320, but config.json's vocab_size is 320", file,
              [](Json& j) { j["model"]["vocab"]["new"] = 320; });
  refuse_file("an added token has no content", file, [](Json& j) { j["added_tokens"][0].erase("content"); });
  refuse_file(
      "the pre-tokenizer 'Whitespace' is not known", file,
      [](Json& j) {
        j["pre_tokenizer"] = {{"type", "Whitespace"}};
      },
      ErrorCode::unsupported);
  refuse_file(
      "with byte-level tokens and the expressions '[a-z]+' is not known", file,
      [](Json& j) { j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "[a-z]+"; },
      ErrorCode::unsupported);
  refuse_file(
      "the pre-tokenizer Split by", file,
      [](Json& j) { j["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "MergedWithNext"; },
      ErrorCode::unsupported);
  refuse_file("token 290 is 'x', but", "tokenizer_config.json", [](Json& j) {
    j["added_tokens_decoder"] = {{"290", {{"content", "x"}}}};
  });
  refuse_file(
      "has no added token '<|user|>'", file,
      [](Json& j) {
        for (Json& token : j["added_tokens"]) {
          if (token["content"] == "<|user|>") token["content"] = "<|nobody|>";
        }
      },
      ErrorCode::format, "glm4");
}

TEST(BadCheckpoint, SentencePiece) {
  const CopiedCheckpoint checkpoint("llama-spm");
  const std::string path = checkpoint / "tokenizer.model", whole = cairn::testing::read_file(path);
  write_file(path, "no protocol buffer");
  refuse(ErrorCode::format, "is no SentencePiece model", checkpoint);
  // TrainerSpec (field 2) with model_type (field 3) 1: the last one counts.
  write_file(path, whole + std::string("\x12\x02\x18\x01", 4));
  refuse(ErrorCode::unsupported, "SentencePiece models of kind 'unigram' are not supported", checkpoint);
  for (size_t length = 1; length < whole.size(); length += 61) {
    write_file(path, whole.substr(0, length));
    const TemporaryFolder out;
    try {
      convert(checkpoint.path(), Type::automatic, out / "out.gguf", [](uint64_t, uint64_t) {});
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("tokenizer.model"), std::string::npos) << error.what();
    }
  }
  fs::remove(path);
  const CopiedCheckpoint gemma("gemma");
  fs::remove(gemma / "tokenizer.model");
  refuse(ErrorCode::not_found, "tokenizer.model: is not there", gemma);
}

TEST(Interrupt, LeavesNothing) {
  const CopiedCheckpoint checkpoint("qwen2");
  const TemporaryFolder out;
  cairn::testing::expect_error(ErrorCode::cancelled, "stop", [&] {
    convert(checkpoint.path(), Type::automatic, out / "out.gguf", [&](uint64_t done, uint64_t) {
      if (done > 4096) fail(ErrorCode::cancelled, "stop");
    });
  });
  EXPECT_EQ(out.entries(), 0u);
}

TEST(BadCheckpoint, Embedders) {
  const auto config = [](const std::string& part, const std::function<void(Json&)>& change) {
    refuse_config(part, change, ErrorCode::unsupported, "bert");
  };
  config("hidden_act 'relu' is not supported ('gelu' is)", [](Json& j) { j["hidden_act"] = "relu"; });
  config("position_embedding_type 'relative_key' is not supported",
         [](Json& j) { j["position_embedding_type"] = "relative_key"; });
  refuse_config(
      "config.json says [64, 16]", [](Json& j) { j["max_position_embeddings"] = 64; }, ErrorCode::format,
      "bert");
  const auto tokenizer = [](ErrorCode code, const std::string& part,
                            const std::function<void(Json&)>& change) {
    refuse_file(part, "tokenizer.json", change, code, "bert");
  };
  tokenizer(ErrorCode::unsupported, "BERT's tokenizer is 'Unigram', expected WordPiece",
            [](Json& j) { j["model"]["type"] = "Unigram"; });
  tokenizer(ErrorCode::unsupported, "continuing_subword_prefix '@@' is not supported ('##' is)",
            [](Json& j) { j["model"]["continuing_subword_prefix"] = "@@"; });
  tokenizer(ErrorCode::unsupported, "normalizer 'NFC' is not supported with WordPiece (BertNormalizer is)",
            [](Json& j) {
              j["normalizer"] = {{"type", "NFC"}};
            });
  tokenizer(ErrorCode::unsupported, "a normalizer without clean_text is not supported",
            [](Json& j) { j["normalizer"]["clean_text"] = false; });
  tokenizer(ErrorCode::unsupported, "pre_tokenizer '' is not supported",
            [](Json& j) { j["pre_tokenizer"] = nullptr; });
  tokenizer(ErrorCode::format, "both have id 7", [](Json& j) { j["model"]["vocab"]["twice"] = 7; });
  tokenizer(ErrorCode::format, "has id 4000", [](Json& j) { j["model"]["vocab"]["far"] = 4000; });
  tokenizer(ErrorCode::format, "has no vocab", [](Json& j) { j["model"]["vocab"] = Json::object(); });
  const CopiedCheckpoint checkpoint("bert");
  const auto modules = [&](ErrorCode code, const std::string& part, const char* text) {
    write_file(checkpoint / "modules.json", text);
    refuse(code, part, checkpoint);
  };
  modules(ErrorCode::format, "modules.json: is no list", "{}");
  modules(ErrorCode::format, "'../1_Pooling' is no folder's name",
          R"([{"type": "x.Pooling", "path": "../1_Pooling"}])");
  modules(ErrorCode::not_found, "2_Pooling/config.json", R"([{"type": "x.Pooling", "path": "2_Pooling"}])");
  refuse_file(
      "pools in another way than by mean, [CLS] or last token", "1_Pooling/config.json",
      [](Json& j) { j["pooling_mode_mean_tokens"] = false; }, ErrorCode::unsupported, "bert");
}

// No file says which function a feed-forward part has.
TEST(BadCheckpoint, ActivationsThatTheFamilyDoesNotHave) {
  const auto refuse = [](const char* name, const char* key, const char* value, const std::string& part) {
    refuse_config(
        part, [&](Json& j) { j[key] = value; }, ErrorCode::unsupported, name);
  };
  refuse("qwen2", "hidden_act", "gelu", "config.json: hidden_act 'gelu' is not supported ('silu' is)");
  refuse("smollm2", "hidden_act", "relu2", "hidden_act 'relu2' is not supported ('silu' is)");
  refuse("gpt-oss", "hidden_act", "gelu", "hidden_act 'gelu' is not supported ('silu' is)");
  refuse("phi2", "hidden_act", "gelu", "hidden_act 'gelu' is not supported ('gelu_pytorch_tanh' is)");
  refuse("gemma4", "hidden_activation", "silu",
         "hidden_activation 'silu' is not supported ('gelu_pytorch_tanh' is)");
  refuse("deepseek-v3", "hidden_act", "gelu", "hidden_act 'gelu' is not supported ('silu' is)");
}

TEST(BadCheckpoint, Gemma4) {
  const auto config = [](ErrorCode code, const std::string& part, const std::function<void(Json&)>& change) {
    refuse_config(part, change, code, "gemma4");
  };
  config(ErrorCode::format, "num_experts is 0, against what enable_moe_block says",
         [](Json& j) { j["enable_moe_block"] = true; });
  config(ErrorCode::format, "num_kv_shared_layers is 4, but there are 4 layers",
         [](Json& j) { j["num_kv_shared_layers"] = 4; });
  config(ErrorCode::format, "global_head_dim is missing or odd", [](Json& j) { j.erase("global_head_dim"); });
  config(ErrorCode::format, "layer_types is missing", [](Json& j) { j.erase("layer_types"); });
  config(ErrorCode::unsupported, "RoPE 'yarn' of global layers is not supported",
         [](Json& j) { j["rope_parameters"]["full_attention"]["rope_type"] = "yarn"; });
  config(ErrorCode::format, "has no rope_theta of sliding_attention",
         [](Json& j) { j["rope_parameters"].erase("sliding_attention"); });
  config(ErrorCode::format, "config.json says [4]", [](Json& j) { j["head_dim"] = 4; });
  refuse_file(
      "Gemma 4's tokenizer is BPE with byte fallback", "tokenizer.json",
      [](Json& j) { j["model"]["byte_fallback"] = false; }, ErrorCode::unsupported, "gemma4");
}

}  // namespace
}  // namespace cairn::convert
