// Stacks of other families, with other treatments, and their drafts.
#include "stacks.hpp"

namespace cairn::offload {
namespace {

// Fused q, k and v (phi2), biases, exact rows, planes that are not rotated, forms that want other rows than
// the planes are.
TEST_F(Stacks, EveryFamilyAndFormComesClose) {
  for (const char* family : {"llama", "qwen2", "gemma3", "phi2", "phi2_split"}) {
    for (const auto& [exact, rotate] : {std::pair(false, true), {true, true}, {false, false}}) {
      const std::string path = folder_ / fmt::format("{}-{}-{}.gguf", family, exact, rotate);
      resident::write_plain_stack(
          graph::golden_model_path(family), path,
          {.rows_per_group = 16, .embeddings = false, .exact = exact, .rotate = rotate});
      const auto tokens = some_tokens(60);
      for (const std::string& device : {std::string("cpu"), book_device(1 << 20)}) {
        if (exact && device != "cpu") continue;  // copies are of planes
        OneSequence reference = own(device == "cpu" ? path : cut(path, 8), engine::Precision::f32);
        const auto expected = last_logits(reference, tokens);
        for (const auto method :
             {quantize::Method::rotation, quantize::Method::token, quantize::Method::mixed}) {
          // Columns in float come from what is in memory, which is more.
          if (device != "cpu" && method == quantize::Method::mixed) continue;
          PrefillOptions options = options_of(device);
          options.everything = true;
          if (device != "cpu") options.npu_bits = 8;
          OneSequence run = prefill(path, options, method);
          EXPECT_LT(distance(expected, last_logits(run, tokens)), 0.15)
              << family << " " << exact << rotate << " " << device << " " << quantize::name(method);
        }
      }
    }
  }
}

TEST_F(Stacks, OneScaleATensorIsForOthers) {
  const gguf::File file(stack());
  quantize::Scheme scheme = scheme_of(file, quantize::Method::token);
  scheme.weight_scale = quantize::WeightScale::tensor;
  expect_error(ErrorCode::invalid_argument, "a stack's rows have scales of their own",
               [&] { make_prefill_engine(file, scheme, options_of("cpu")); });
}

// Shadow execution reads the planes while the device computes with them.
TEST_F(Stacks, ShadowExecutionReadsWhatIsInMemory) {
  const gguf::File file(stack());
  quantize::Scheme scheme = scheme_of(file, quantize::Method::token);
  for (auto& layer : scheme.layers)
    layer.fill({.scale_kind = quantize::ScaleKind::fixed,
                .scale = 0.01F,
                .outliers = quantize::Outliers::shadow,
                .hot = {0, 5}});
  const auto tokens = some_tokens(60);
  OneSequence reference = own(stack(), engine::Precision::f32);
  const auto expected = last_logits(reference, tokens);
  OneSequence device(make_prefill_engine(file, scheme, options_of("cpu")));
  EXPECT_LT(distance(expected, last_logits(device, tokens)), 0.1);
  int asked = 0;
  last_logits(device, tokens, [&] {
    if (++asked % 2 == 0) device.engine->set_memory(device.engine->memory().least + kMiB);
    if (++asked % 3 == 0) device.engine->set_memory(0);
    return false;
  });
  device.engine->set_memory(0);
}

TEST_F(Stacks, DraftsWithFewerBits) {
  OneSequence device = prefill(stack(), options_of("cpu"));
  last_logits(device, some_tokens(60));
  const std::vector<int32_t> one = {5};
  std::vector<float> usual(device.vocabulary()), draft(device.vocabulary());
  device.engine->draft(std::vector<engine::Slice>{{device.sequence.get(), one, Logits::last, draft.data()}},
                       2);
  EXPECT_EQ(device.length(), 61U);
  device.run(one, 60, Logits::last, usual.data());
  EXPECT_GT(distance(usual, draft), 0.01);
  for (const float x : draft) ASSERT_TRUE(std::isfinite(x));
}

}  // namespace
}  // namespace cairn::offload
