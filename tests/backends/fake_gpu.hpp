// Tests that run on the fake GPU (fake_cuda/), whose mishaps the environment chooses; CAIRN_TEST_GPU=1 in it
// takes the GPU that there is (tools/cuda_models.sh).
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/engine.hpp"

namespace cairn::testing {

inline bool on_real_gpu() {
  return std::getenv("CAIRN_TEST_GPU") != nullptr;
}

// With the fake in libcairn_cuda.so's place while it lives.
class FakeGpu {
 public:
  FakeGpu() {
    if (const char* was = std::getenv("CAIRN_LIB")) was_ = was;
    if (!on_real_gpu()) setenv("CAIRN_LIB", CAIRN_FAKE_CUDA_FOLDER, 1);
  }
  ~FakeGpu() {
    for (const std::string& name : set_) unsetenv(name.c_str());
    if (was_.empty()) {
      unsetenv("CAIRN_LIB");
    } else {
      setenv("CAIRN_LIB", was_.c_str(), 1);
    }
  }
  FakeGpu(const FakeGpu&) = delete;
  FakeGpu& operator=(const FakeGpu&) = delete;

  // CAIRN_FAKE_CUDA and what follows it.
  void set(const std::string& which, const std::string& value) {
    const std::string name = "CAIRN_FAKE_CUDA" + which;
    setenv(name.c_str(), value.c_str(), 1);
    set_.push_back(name);
  }
  void unset(const std::string& which) { unsetenv(("CAIRN_FAKE_CUDA" + which).c_str()); }

 private:
  std::string was_{};
  std::vector<std::string> set_{};
};

}  // namespace cairn::testing
