// The cache of latent attention: one row a position, whatever the number of heads.
#include <gtest/gtest.h>

#include "backends/cpu/pages.hpp"
#include "graph/golden_models.hpp"
#include "kernels/vector.hpp"

namespace cairn::cpu {
namespace {

TEST(LatentPages, HoldOneRowAPosition) {
  const graph::Model model = graph::load(gguf::File(graph::golden_model_path("deepseek2")));
  constexpr size_t kWidth = 32 + 16, kPositions = kernels::kPagePositions;
  for (const auto format :
       {kernels::KvFormat::f32, kernels::KvFormat::f16, kernels::KvFormat::i8, kernels::KvFormat::q4}) {
    const PageLayout layout(model, format);
    const size_t row = kernels::kv_row_bytes(layout.key_format(), kWidth);
    const size_t scale = kernels::kv_scale_bytes(format, kWidth);
    EXPECT_LE(layout.bytes(), (row + scale) * kPositions + 128);
    EXPECT_EQ(layout.rows(0, 1), layout.rows(0, 0));  // values are the keys
    EXPECT_EQ(layout.scales(0, 1), layout.scales(0, 0));
    EXPECT_EQ(layout.row_bytes(0, 1), row);
    EXPECT_EQ(layout.format(0, 1), layout.key_format());
  }
}

}  // namespace
}  // namespace cairn::cpu
