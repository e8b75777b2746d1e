// Models with one thing wrong, and what loading them has to say.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "graph/graph.hpp"
#include "graph/model_file.hpp"

namespace cairn::graph {

struct Mistake {
  const char* name;
  std::function<void(ModelFile&)> make;
  ErrorCode code;
  std::vector<std::string> told;  // what the error names, beside the file
};

// `model`: of the family, without the mistake.
inline void expect_refused(ModelFile model, const Mistake& mistake) {
  mistake.make(model);
  const gguf::File file = model.open();
  try {
    load(file);
    FAIL() << "loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), mistake.code) << error.what();
    EXPECT_THAT(error.what(), testing::HasSubstr(file.path()));
    for (const std::string& part : mistake.told) EXPECT_THAT(error.what(), testing::HasSubstr(part));
  }
}

// The same, whatever the error's code.
inline void expect_refused(ModelFile model, const std::function<void(ModelFile&)>& make, const char* told) {
  make(model);
  try {
    load(model.open());
    ADD_FAILURE() << "accepted: " << told;
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(told));
  }
}

}  // namespace cairn::graph
