#include "cli/prefill_flags.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "base/atomic_file.hpp"
#include "base/byte_size.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/standard_streams.hpp"
#include "base/thread_pool.hpp"
#include "cli/parser/values.hpp"
#include "kernels/kernels.hpp"
#include "offload/calibrated_seconds.hpp"
#include "quantize/calibration.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {
namespace {

void write_file(const std::string& path, const std::string& content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

}  // namespace

namespace {

void add_flags(CLI::App& command, PrefillFlags& flags) {
  CLI::Option* device =
      command
          .add_option(
              "--prefill", flags.device,
              "read the prompt as int8 chunks on this device (see `cairn devices`), decode on the CPU; "
              "for an NPU: on the CPU itself (cpu) the usual way of reading is faster")
          ->type_name("DEVICE");
  command.add_option("--bundle", flags.bundle, "qnn: start from this folder, which `cairn compile` made")
      ->type_name("DIR")
      ->needs(device);
  command.add_option("--chunk", flags.chunk, "tokens of a chunk; measured on the device if not given")
      ->check(between(32u, 1024u))
      ->needs(device);
  add_npu_bits(command, flags.npu_bits)->needs(device);
  add_npu_form(command, flags.form)->needs(device);
  command.add_option("--policy", flags.policy, "which subgraph runs next, look-ahead if not given")
      ->transform(one_of({"in-order", "pairs", "overlap", "out-of-order", "look-ahead"}))
      ->type_name("NAME")
      ->needs(device);
  command.add_flag("--sequential", flags.sequential, "device and CPU take turns, each with all threads")
      ->needs(device);
  add_quantize_flags(command, flags.quantize);
}

void add_file_flags(CLI::App& command, PrefillFlags& flags) {
  CLI::Option* device = command.get_option("--prefill");
  command.add_option("--trace", flags.trace, "write every subgraph's run for Chrome's tracing or Perfetto")
      ->type_name("FILE")
      ->needs(device);
  command.add_option("--timeline", flags.timeline, "draw every subgraph's run as an HTML page")
      ->type_name("FILE")
      ->needs(device);
  add_output_flags(command, flags.files);
}

}  // namespace

CLI::Option* add_npu_bits(CLI::App& command, double& bits) {
  return command
      .add_option("--npu-bits", bits,
                  "a stack: how many of its bits a weight a device takes that compiles weights in, 4 if not "
                  "given; others take what is in memory. Other models on qnn: 8, or rounded to 4")
      ->check(between(1.0, offload::kMostNpuBits))
      ->type_name("X");
}

CLI::Option* add_npu_form(CLI::App& command, std::string& form) {
  return command
      .add_option("--npu-form", form,
                  "qnn: what goes to the device: the int8 products alone (products, if not given), or whole "
                  "layers, in half precision (layers-fp16) or with products of 16 bits and 8 (layers-a16)")
      ->transform(one_of({"products", "layers-a16", "layers-fp16"}))
      ->type_name("NAME");
}

offload::NpuForm npu_form(const std::string& form, const QuantizeFlags& quantize, double npu_bits) {
  const offload::NpuForm chosen = offload::parse_npu_form(form);
  if (chosen == offload::NpuForm::products || (!quantize.given() && npu_bits == 0)) return chosen;
  fail(ErrorCode::invalid_argument,
       "--npu-form {}: --quantize and fewer bits are for products; whole layers have their own quantisation",
       form);
}

void add_prefill_flags(CLI::App& command, PrefillFlags& flags) {
  in_group(command, kResearch, [&] {
    add_flags(command, flags);
    add_file_flags(command, flags);
  });
}

void add_served_prefill_flags(CLI::App& command, PrefillFlags& flags) {
  in_group(command, kResearch, [&] { add_flags(command, flags); });
}

void check_outputs(const PrefillFlags& flags, const std::string& model, std::vector<std::string> inputs) {
  inputs.push_back(flags.quantize.calibration);
  flags.files.check({flags.trace, flags.timeline}, model_inputs(model, inputs));
}

std::shared_ptr<engine::Engine> make_engine(const llm::Model& model, engine::Options options,
                                            const PrefillFlags& flags) {
  graph::require_head(model.parameters(), model.file().path());
  const uint32_t trained = model.parameters().context;
  if (options.context > trained) {
    warn("--context {}: the model was trained for {} positions, beyond them its answers lose their sense",
         options.context, trained);
  }
  debug("{}: {}, {}, context {}, {} threads, {}", model.file().path(), model.parameters().architecture,
        byte_size(model.file().file_bytes()), model.context(options.context),
        options.threads == 0 ? usable_processors() : options.threads,
        kernels::name(kernels::default_target()));
  if (flags.device.empty()) {
    if (flags.quantize.given() || !flags.quantize.calibration.empty()) {
      fail(ErrorCode::invalid_argument,
           "--quantize and --calibration choose how --prefill DEVICE computes: name one");
    }
    return model.make_engine(options);
  }
  if (options.device != "cpu" && options.device != "auto") {
    fail(ErrorCode::invalid_argument,
         "--prefill {} reads a prompt for the CPU, --device {} for a GPU: choose one", flags.device,
         options.device);
  }
  if (options.precision == engine::Precision::f32) {
    fail(ErrorCode::invalid_argument, "--prefill {} computes in int8, --precision f32 in float: choose one",
         flags.device);
  }
  if (options.repeatable) {
    fail(ErrorCode::invalid_argument,
         "--prefill {} reads a prompt otherwise than an answer is written, which --repeatable rules out: "
         "choose one",
         flags.device);
  }
  offload::PrefillOptions prefill;
  prefill.engine = options;
  prefill.engine.context = model.context(options.context);
  prefill.engine.chunk = flags.chunk;
  prefill.device = flags.device;
  prefill.policy = offload::parse_policy(flags.policy);
  prefill.concurrent = !flags.sequential;
  prefill.npu_bits = flags.npu_bits;
  prefill.form = npu_form(flags.form, flags.quantize, flags.npu_bits);
  prefill.accelerator.cache_folder = cache_folder("graphs");
  prefill.accelerator.bundle = flags.bundle;
  prefill.warn = [](const std::string& line) { warn("{}", line); };
  prefill.accelerator.notice = prefill.warn;
  if (!flags.quantize.calibration.empty()) {
    prefill.times = offload::calibrated_seconds(
        quantize::Calibration::read(flags.quantize.calibration, model.file()), flags.device);
  }
  return offload::make_prefill_engine(
      model.file(), make_scheme(flags.quantize, model.file(), model.parameters().layers), prefill);
}

void report_prefill(const engine::Engine& engine, const PrefillFlags& flags, bool quiet) {
  const auto* prefill = dynamic_cast<const offload::PrefillEngine*>(&engine);
  if (prefill == nullptr) return;
  const offload::Timeline& timeline = prefill->timeline();
  if (timeline.events.empty()) return;  // a prompt so short that decode took it
  if (!flags.trace.empty()) write_file(flags.trace, offload::chrome_trace(timeline));
  if (!flags.timeline.empty()) write_file(flags.timeline, offload::gantt_html(timeline));
  if (quiet) return;
  const offload::PrefillStatistics& s = prefill->statistics();
  tell("{}: chunks of {}, {} graphs ({} from the cache, {:.2f} s to make), idle {:.0f} %", flags.device,
       prefill->chunk_length(), s.graphs, s.cached_graphs, s.compile_seconds,
       100 * timeline.bubble(offload::Processor::npu));
  if (s.device_weight_bytes > 0) tell("; its copy of the weights {} MiB", s.device_weight_bytes >> 20);
  if (s.crossings > 0)
    tell("; {} crossings, {:.1f} MB there, {:.1f} MB back", s.crossings,
         static_cast<double>(s.bytes_in) / 1e6, static_cast<double>(s.bytes_out) / 1e6);
  if (s.recomputed_outputs > 0)
    tell("; {} output{} beyond its range", s.recomputed_outputs, s.recomputed_outputs == 1 ? "" : "s");
  if (s.shadow_elements > 0) {
    tell("; {} outliers in shadow, {} columns from memory, {} from the file ({} MiB read)", s.shadow_elements,
         s.hot_columns, s.cold_columns, s.cold_bytes >> 20);
  }
  write_error("\n");
}

}  // namespace cairn::cli
