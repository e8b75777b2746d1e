#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/error.hpp"

namespace cairn::testing {

// The Error that `action` throws; a failure when it throws none.
template <class Action>
Error error_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorCode::invalid_argument, "nothing was thrown");
}

template <class Action>
void expect_error(ErrorCode code, const std::string& part, const Action& action) {
  const Error error = error_of(action);
  EXPECT_EQ(error.code(), code) << error.what();
  EXPECT_THAT(error.what(), ::testing::HasSubstr(part));
  EXPECT_THAT(error.what(), ::testing::Not(::testing::HasSubstr("\n")));
}

}  // namespace cairn::testing
