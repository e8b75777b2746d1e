#ifndef CAIRN_ENGINE_HPP
#define CAIRN_ENGINE_HPP

#include <cairn/engine.h>

#include <cairn/model.hpp>

namespace cairn {
inline namespace v0 {

// The C struct with what is usual in it.
struct EngineOptions : cairn_engine_options {
  EngineOptions() { cairn_engine_options_init(this, sizeof(cairn_engine_options)); }
};

// A model's weights with the threads that compute with them (cairn/engine.h).
class Engine {
 public:
  explicit Engine(const Model& model, const EngineOptions& options = {}) {
    cairn_engine* opened = nullptr;
    detail::check(cairn_engine_open, model.get(), static_cast<const cairn_engine_options*>(&options),
                  &opened);
    engine_.reset(opened);
  }

  cairn_engine_info info() const {
    cairn_engine_info info{};
    info.size = sizeof info;
    detail::check(cairn_engine_get_info, engine_.get(), &info);
    return info;
  }

  cairn_memory memory() const {
    cairn_memory memory{};
    memory.size = sizeof memory;
    detail::check(cairn_engine_get_memory, engine_.get(), &memory);
    return memory;
  }
  // 0: no limit; CAIRN_MEMORY_AUTO: what the system can spare.
  void set_memory(std::uint64_t bytes) { detail::check(cairn_engine_set_memory, engine_.get(), bytes); }
  // A line for each block of a stack that is left out.
  std::string problems() const {
    detail::Text lines;
    detail::check(cairn_engine_problems, engine_.get(), &lines.data);
    return lines.str();
  }

  cairn_engine* get() const noexcept { return engine_.get(); }

 private:
  detail::Owned<cairn_engine, cairn_engine_close> engine_;
};

}  // namespace v0
}  // namespace cairn

#endif
