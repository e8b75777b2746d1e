#include "cli/quantize_flags.hpp"

#include "base/error.hpp"
#include "cli/parser/values.hpp"
#include "formats/stack_file.hpp"

namespace cairn::cli {

namespace {

void add_flags(CLI::App& command, QuantizeFlags& flags) {
  quantize::SchemeOptions& options = flags.options;
  command.add_option("--calibration", flags.calibration, "what `cairn calibrate` wrote for this model")
      ->type_name("FILE");
  CLI::Option* method =
      command.add_option("--quantize", flags.method, "int8 products for a matrix engine")
          ->transform(one_of({"naive", "smoothquant", "mixed", "token", "rotation", "shadow", "auto"}))
          ->type_name("NAME");
  command.add_flag("--static", options.fixed, "token, rotation: one fixed scale in place of one a token")
      ->needs(method);
  command.add_flag("--rotate", options.rotate, "shadow: of rotated inputs")->needs(method);
  command
      .add_option("--threshold", options.threshold,
                  "shadow: the percentile beyond which values are outliers: 99 (default), 99.7, 99.9, 99.99")
      ->type_name("P")
      ->needs(method);
  command
      .add_option("--prune", options.prune,
                  "shadow: this share of the inputs, the least important, goes without (0 to 1)")
      ->type_name("F")
      ->needs(method);
  command.add_option("--pruned", flags.pruned, "what becomes of those, clamp if not given")
      ->transform(one_of({"clamp", "range", "rotation", "float"}))
      ->type_name("NAME")
      ->needs(method);
  command
      .add_option("--float-tokens", options.float_tokens,
                  "first tokens of the prompt in float: 0, or what auto was calibrated for, if not given")
      ->type_name("N");
  command
      .add_option("--weights", flags.weights,
                  "a scale each row of the weights (default), or one a tensor "
                  "(naive's default): row, tensor")
      ->transform(one_of({"row", "tensor"}))
      ->type_name("NAME")
      ->needs(method);
  command.add_option("--budget", options.budget, "auto: what it may cost, in per cent of perplexity (0.6)")
      ->type_name("X");
  command
      .add_option("--hot", options.hot,
                  "shadow: memory of hot channels' weights, in per cent of the model's (0.5)")
      ->type_name("X")
      ->needs(method);
}

}  // namespace

void add_quantize_flags(CLI::App& command, QuantizeFlags& flags) {
  in_group(command, kResearch, [&] { add_flags(command, flags); });
}

quantize::Scheme make_scheme(const QuantizeFlags& flags, const gguf::File& model, size_t layers) {
  quantize::SchemeOptions options = flags.options;
  if (flags.given()) {
    options.method = quantize::parse_method(flags.method);
  } else {
    options.method = flags.calibration.empty() ? quantize::Method::rotation : quantize::Method::automatic;
    // A stack's rows are int8 with a scale a token as well.
    if (flags.calibration.empty() && !options.float_tokens)
      options.float_tokens = stack::is_stack(model) ? 0 : 1;
  }
  if (flags.pruned == "range") options.pruned = quantize::Pruned::range;
  if (flags.pruned == "rotation") options.pruned = quantize::Pruned::rotation;
  if (flags.pruned == "float") options.pruned = quantize::Pruned::float_product;
  if (flags.weights == "row") options.weights = quantize::WeightScale::row;
  if (flags.weights == "tensor") options.weights = quantize::WeightScale::tensor;
  if (flags.calibration.empty()) return quantize::make_scheme(layers, options);
  return quantize::make_scheme(quantize::Calibration::read(flags.calibration, model), options);
}

}  // namespace cairn::cli
