#pragma once

#include "formats/gguf.hpp"

namespace cairn::engine {

// For engines: while a file's bytes are read, which may be cut meanwhile: check() before the results are used.
class Reading {
 public:
  explicit Reading(const gguf::File& file) : file_(file) {
    file_.require_whole();
    file_.tolerate_losses(true);
  }
  ~Reading() { file_.tolerate_losses(false); }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  void check() const { file_.require_read(); }

 private:
  const gguf::File& file_;
};

}  // namespace cairn::engine
