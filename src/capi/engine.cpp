#include "cairn/engine.h"

#include <string>

#include "base/log.hpp"
#include "base/memory_pressure.hpp"
#include "capi/call.hpp"
#include "capi/objects.hpp"
#include "capi/options.hpp"
#include "formats/stack_file.hpp"

using namespace cairn;
using namespace cairn::capi;

namespace {

cairn_engine_options usual() {
  cairn_engine_options own{};
  own.size = sizeof own;
  own.chunk = engine::Options{}.chunk;
  return own;
}

// The numbers that programs are compiled with; engine/engine.hpp says them once more.
static_assert(static_cast<int>(engine::Precision::f32) == CAIRN_PRECISION_F32);
static_assert(static_cast<int>(engine::KvType::i8) == CAIRN_KV_I8);
static_assert(static_cast<int>(engine::KvType::q4) == CAIRN_KV_Q4);
static_assert(static_cast<int>(engine::Weights::mapped) == CAIRN_WEIGHTS_MAPPED);
static_assert(static_cast<int>(engine::Weights::copied) == CAIRN_WEIGHTS_COPIED);

template <class Value>
Value one_of(int32_t number, int32_t count, const char* what) {
  if (number < 0 || number >= count)
    fail(ErrorCode::invalid_argument, "{}: {} is none of 0 to {}", what, number, count - 1);
  return static_cast<Value>(number);
}

engine::Options options_of(const cairn_engine_options& given) {
  engine::Options options;
  if (given.context > 1 << 24)
    fail(ErrorCode::invalid_argument, "context: {} is not in 0 to {}", given.context, 1 << 24);
  if (given.threads > 1024)
    fail(ErrorCode::invalid_argument, "threads: {} is not in 0 to 1024", given.threads);
  options.context = given.context;
  options.threads = given.threads;
  options.chunk = given.chunk;
  options.precision = one_of<engine::Precision>(given.precision, 2, "precision");
  options.repeatable = given.repeatable != 0;
  options.kv = one_of<engine::KvType>(given.kv, 3, "kv");
  options.weights = one_of<engine::Weights>(given.weights, 3, "weights");
  options.memory_auto = given.memory == CAIRN_MEMORY_AUTO;
  options.memory = options.memory_auto ? 0 : given.memory;
  if (given.device != nullptr) options.device = given.device;
  options.device_memory_auto = given.device_memory == CAIRN_MEMORY_AUTO;
  options.device_memory = options.device_memory_auto ? 0 : given.device_memory;
  options.warn = [](const std::string& line) { warn("{}", line); };
  return options;
}

}  // namespace

void cairn_engine_options_init(cairn_engine_options* options, size_t size) {
  write_usual(options, size, usual());
}

cairn_status cairn_engine_open(const cairn_model* model, const cairn_engine_options* options,
                               cairn_engine** opened, cairn_error* error) {
  return call(error, [&] {
    require(opened, "opened");
    *opened = nullptr;
    auto made = std::make_shared<Engine>();
    made->model = object_of<Model>(model);
    const cairn_engine_options given = read_options(options, usual(), "cairn_engine_options");
    engine::Options engine_options = options_of(given);
    if (given.memory != 0 && !stack::is_stack(made->model->model->file()))
      fail(ErrorCode::unsupported, "{}: its memory is fixed: it is no stack", made->model->path);
    made->pool =
        given.share != nullptr
            ? object_of<Engine>(given.share)->pool
            : std::make_shared<ThreadPool>(given.threads == 0 ? usable_processors() : size_t{given.threads});
    engine_options.pool = made->pool;
    made->engine = made->model->model->make_engine(std::move(engine_options));
    made->model->check();
    *opened = static_cast<cairn_engine*>(open_handle(std::move(made)));
  });
}

void cairn_engine_close(cairn_engine* engine) {
  quietly([&] { close_handle(Kind::engine, engine); });
}

cairn_status cairn_engine_get_info(const cairn_engine* engine, cairn_engine_info* info, cairn_error* error) {
  return call(error, [&] {
    const auto of = object_of<Engine>(engine);
    cairn_engine_info told{};
    told.context = of->engine->context();
    told.chunk = of->engine->chunk();
    told.threads = static_cast<uint32_t>(of->pool->threads());
    told.elastic = of->engine->elastic() ? 1 : 0;
    told.kv_bytes = of->engine->kv_bytes();
    told.scratch_bytes = of->engine->scratch_bytes();
    write_struct(info, told, "cairn_engine_info");
  });
}

cairn_status cairn_engine_get_memory(const cairn_engine* engine, cairn_memory* memory, cairn_error* error) {
  return call(error, [&] {
    const auto of = object_of<Engine>(engine);
    const engine::MemoryStatus status = of->engine->memory();
    cairn_memory told{};
    told.budget = status.budget;
    told.automatic = status.automatic ? 1 : 0;
    told.process = of->engine->elastic() ? status.process : resident_memory();
    told.stack = status.stack;
    told.stack_all = status.stack_all;
    told.read = status.read;
    told.bits = status.bits;
    told.device = status.device;
    write_struct(memory, told, "cairn_memory");
  });
}

cairn_status cairn_engine_set_memory(cairn_engine* engine, uint64_t bytes, cairn_error* error) {
  return call(error, [&] {
    const auto of = object_of<Engine>(engine);
    if (bytes == CAIRN_MEMORY_AUTO) return of->engine->set_memory_auto();
    of->engine->set_memory(bytes);
  });
}

cairn_status cairn_engine_problems(const cairn_engine* engine, char** lines, cairn_error* error) {
  return call(error, [&] {
    require(lines, "lines");
    *lines = nullptr;
    std::string all;
    for (const std::string& line : object_of<Engine>(engine)->engine->memory().problems) all += line + "\n";
    *lines = handed_out(all);
  });
}
