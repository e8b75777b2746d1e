#include "convert/safetensors.hpp"

#include <gtest/gtest.h>

#include "base/expect_error.hpp"
#include "copied_checkpoint.hpp"

namespace cairn::convert {
namespace {

using cairn::testing::safetensors;
using cairn::testing::TemporaryFolder;
using cairn::testing::write_file;

class SafetensorsFile : public ::testing::Test {
 protected:
  void refuse(const std::string& part, const std::string& content) const {
    write_file(path_, content);
    cairn::testing::expect_error(ErrorCode::format, part, [&] { Safetensors{path_}; });
    cairn::testing::expect_error(ErrorCode::format, path_, [&] { Safetensors{path_}; });
  }
  // Of two tensors, f16 [2, 3] and f32 [1]: 16 bytes of data.
  static std::string two(const std::string& a, const std::string& b, size_t bytes = 16) {
    return safetensors(R"({"__metadata__": {"format": "pt"}, "a": )" + a + R"(, "b": )" + b + "}",
                       std::string(bytes, '\1'));
  }
  const std::string a_ = R"({"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]})";
  const std::string b_ = R"({"dtype": "F32", "shape": [1], "data_offsets": [12, 16]})";
  const TemporaryFolder folder_;
  const std::string path_ = folder_ / "model.safetensors";
};

TEST_F(SafetensorsFile, IsRead) {
  write_file(path_, two(a_, b_));
  const Safetensors file(path_);
  ASSERT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.tensors()[0].dtype, Dtype::f16);
  EXPECT_EQ(file.tensors()[0].shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(file.tensors()[1].data.size(), 4u);
  EXPECT_EQ(file.tensors()[1].data.data(), file.tensors()[0].data.data() + 12);
}

TEST_F(SafetensorsFile, HasAHeader) {
  refuse("the file is empty", "");
  refuse("the header's length needs 8 bytes, 3 are left", "abc");
  refuse("the header needs 9 bytes, 2 are left", std::string("\x9\0\0\0\0\0\0\0{}", 10));
  refuse("more than the 100000000 that are allowed", std::string(8, '\x7f') + "{}");
  refuse("header: byte 2: is not JSON", safetensors("{a", ""));
  refuse("header: is JSON, but not an object", safetensors("[]", ""));
  refuse("'a' stands twice", safetensors(R"({"a": )" + a_ + R"(, "a": )" + a_ + "}", std::string(12, ' ')));
  refuse("'dtype' stands twice",
         safetensors(R"({"a": {"dtype": "F16", "dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})",
                     "abcd"));
}

TEST_F(SafetensorsFile, SaysWhatItsTensorsAre) {
  refuse("tensor 'b': has no dtype", two(a_, "7"));
  refuse("tensor 'b': has no dtype", two(a_, R"({"shape": [1], "data_offsets": [12, 16]})"));
  refuse("tensor 'b': dtype 'F17' is not known",
         two(a_, R"({"dtype": "F17", "shape": [1], "data_offsets": [12, 16]})"));
  refuse("tensor 'b': has no shape", two(a_, R"({"dtype": "F32", "data_offsets": [12, 16]})"));
  refuse("a dimension is no whole number",
         two(a_, R"({"dtype": "F32", "shape": [-1], "data_offsets": [12, 16]})"));
  refuse("a dimension is no whole number",
         two(a_, R"({"dtype": "F32", "shape": [1.0], "data_offsets": [12, 16]})"));
  refuse("shape [4294967296, 4294967296] is too large",
         two(a_, R"({"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [12, 16]})"));
  refuse("tensor 'b': takes 4 bytes, but F32 of shape [2] takes 8",
         two(a_, R"({"dtype": "F32", "shape": [2], "data_offsets": [12, 16]})"));
}

TEST_F(SafetensorsFile, EachByteBelongsToOneTensor) {
  refuse("data_offsets are not two whole numbers",
         two(a_, R"({"dtype": "F32", "shape": [1], "data_offsets": [12]})"));
  refuse("data_offsets are not two whole numbers",
         two(a_, R"({"dtype": "F32", "shape": [1], "data_offsets": [12, -16]})"));
  refuse("tensor 'b': lies at bytes 12 to 16 of 15 bytes of data", two(a_, b_, 15));
  refuse("tensor 'b': lies at bytes 16 to 12 of 16",
         two(a_, R"({"dtype": "F32", "shape": [1], "data_offsets": [16, 12]})"));
  refuse("tensor 'b': shares bytes with another tensor",
         two(a_, R"({"dtype": "F32", "shape": [1], "data_offsets": [8, 12]})", 12));
  refuse("tensor 'b': 4 bytes before it belong to no tensor",
         two(a_, R"({"dtype": "F32", "shape": [1], "data_offsets": [16, 20]})", 20));
  refuse("the last 3 bytes belong to no tensor", two(a_, b_, 19));
}

TEST_F(SafetensorsFile, CutAnywhereIsRefused) {
  const std::string whole = two(a_, b_);
  for (size_t length = 0; length < whole.size(); ++length) {
    write_file(path_, whole.substr(0, length));
    EXPECT_THROW(Safetensors{path_}, Error) << length;
  }
}

}  // namespace
}  // namespace cairn::convert
