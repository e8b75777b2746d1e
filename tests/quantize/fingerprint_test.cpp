#include "quantize/fingerprint.hpp"

#include <gtest/gtest.h>

#include "support.hpp"

namespace cairn::quantize {
namespace {

TEST(Fingerprint, IsTheModels) {
  const TinyFile model, same;
  const std::string print = model_fingerprint(model.file);
  EXPECT_EQ(print.size(), 64U);
  EXPECT_EQ(print, model_fingerprint(same.file));  // wherever the file lies

  const TinyFile other_key({.context = 512}),
      other_value({.poisoned = "blk.1.attn_norm.weight", .poison = 1.5f}),
      other_weight({.poisoned = "blk.0.ffn_down.weight", .poison = 0.5f});
  for (const TinyFile* other : {&other_key, &other_value, &other_weight}) {
    EXPECT_NE(print, model_fingerprint(other->file));
  }
}

}  // namespace
}  // namespace cairn::quantize
