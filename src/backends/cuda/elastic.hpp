#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "backends/cuda/device.hpp"
#include "backends/cuda/pages.hpp"
#include "backends/cuda/planes.hpp"
#include "engine/engine.hpp"

namespace cairn::cuda {

// Shares a GPU's memory between a model's weights, keys and values, and as many of a stack's planes as there
// is room for: what the engine may have is given, or (automatic) what others leave free.
class Elastic {
 public:
  // planes: null where the model is no stack. fixed: bytes that the engine has beside them and the pages.
  // one_step: whoever holds it uses the device.
  Elastic(std::string path, std::shared_ptr<Device> device, Planes* planes, PagePool& pages, uint64_t fixed,
          const engine::Options& options, std::mutex& one_step);
  ~Elastic();
  Elastic(const Elastic&) = delete;
  Elastic& operator=(const Elastic&) = delete;

  // Of all that the engine has. Error out_of_memory: less than everything but the planes beyond the base
  // needs.
  void set_memory(uint64_t bytes);
  void set_automatic();
  engine::MemoryStatus status() const;

  // Between two steps, by who uses the device: gives back what is too much, reads a little of what there is
  // room for.
  void adjust();
  void fill();  // reads all that there is room for
  // As PagePool::MakeRoom.
  bool make_room(uint64_t bytes, bool failed);

 private:
  uint64_t others() const;  // bytes of all but the planes
  uint64_t least() const { return others() + (planes_ != nullptr ? planes_->base_bytes() : 0); }
  uint64_t room();  // for planes
  void watch();

  const std::string path_;
  const std::shared_ptr<Device> device_;
  Planes* const planes_;
  PagePool& pages_;
  const uint64_t fixed_;
  std::mutex& one_step_;
  // All with one_step_ held.
  uint64_t budget_;
  bool automatic_;
  uint64_t ceiling_ = UINT64_MAX;  // of planes, from when the device had no more memory
  uint64_t gave_way_ = 0;
  std::chrono::steady_clock::time_point looked_{};

  std::mutex leaving_mutex_;
  std::condition_variable leaving_changed_;
  bool leaving_ = false;
  std::thread watcher_;  // of an automatic budget, while nothing is stepped
};

}  // namespace cairn::cuda
