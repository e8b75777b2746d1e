#include "options.hpp"

#include <pybind11/stl.h>

#include <functional>
#include <map>
#include <string>

namespace py = pybind11;

namespace binding {
namespace {

cairn::Speculation speculation_of(const std::string& name) {
  static const std::map<std::string, cairn::Speculation> kNames = {{"none", cairn::Speculation::none},
                                                                   {"lookup", cairn::Speculation::lookup},
                                                                   {"draft", cairn::Speculation::draft},
                                                                   {"self", cairn::Speculation::self},
                                                                   {"auto", cairn::Speculation::automatic}};
  const auto found = kNames.find(name);
  if (found == kNames.end())
    throw py::value_error("speculation: '" + name + "' is none of none, lookup, draft, self, auto");
  return found->second;
}

using Set = std::function<void(cairn::GenerateOptions&, const py::handle&)>;

template <class Value>
Set field(Value cairn::GenerateOptions::*member) {
  return [member](cairn::GenerateOptions& options, const py::handle& value) {
    options.*member = value.cast<Value>();
  };
}

void set_stop(cairn::GenerateOptions& options, const py::handle& value) {
  if (py::isinstance<py::str>(value)) {
    options.stop = {value.cast<std::string>()};
  } else {
    options.stop = value.cast<std::vector<std::string>>();
  }
}

void set_bias(cairn::GenerateOptions& options, const py::handle& value) {
  for (const auto& [token, bias] : value.cast<std::map<std::int32_t, float>>())
    options.biases.push_back({token, bias});
}

Set text(std::optional<std::string> cairn::GenerateOptions::*member) {
  return [member](cairn::GenerateOptions& options, const py::handle& value) {
    if (!py::isinstance<py::str>(value)) throw py::cast_error();  // pybind11 takes bytes as well
    options.*member = value.cast<std::string>();
  };
}

// The text of some JSON, or what Python's json writes.
std::string json_text(const py::handle& value) {
  const bool written = py::isinstance<py::str>(value);
  return (written ? py::str(value) : py::module_::import("json").attr("dumps")(value)).cast<std::string>();
}

void set_schema(cairn::GenerateOptions& options, const py::handle& value) {
  options.json_schema = json_text(value);
}

// Any sequence, which json knows as a list or a tuple alone.
void set_tools(cairn::GenerateOptions& options, const py::handle& value) {
  if (py::isinstance<py::str>(value)) {
    options.tools = json_text(value);
  } else {
    if (!py::isinstance<py::sequence>(value)) throw py::cast_error();
    options.tools = json_text(py::list(py::reinterpret_borrow<py::object>(value)));
  }
}

const std::map<std::string, Set>& fields() {
  using O = cairn::GenerateOptions;
  static const std::map<std::string, Set> kFields = {
      {"max_tokens", field(&O::max_tokens)},
      {"ignore_end", field(&O::ignore_end)},
      {"stop", set_stop},
      {"temperature", field(&O::temperature)},
      {"top_k", field(&O::top_k)},
      {"top_p", field(&O::top_p)},
      {"min_p", field(&O::min_p)},
      {"repetition_penalty", field(&O::repetition_penalty)},
      {"frequency_penalty", field(&O::frequency_penalty)},
      {"presence_penalty", field(&O::presence_penalty)},
      {"penalty_window", field(&O::penalty_window)},
      {"logit_bias", set_bias},
      {"seed", [](O& options, const py::handle& value) { options.seed = value.cast<std::uint64_t>(); }},
      {"speculation",
       [](O& options, const py::handle& value) {
         options.speculation = speculation_of(value.cast<std::string>());
       }},
      {"schema", set_schema},
      {"regex", text(&O::regex)},
      {"grammar", text(&O::grammar)},
      {"logprobs",
       [](O& options, const py::handle& value) { options.logprobs = value.cast<std::uint32_t>(); }},
      {"prompt_logprobs", field(&O::prompt_logprobs)},
      {"tools", set_tools},
      {"tool_choice", [](O& options, const py::handle& value) { options.tool_choice = json_text(value); }},
      {"parallel_tool_calls",
       [](O& options, const py::handle& value) { options.one_call = !value.cast<bool>(); }},
  };
  return kFields;
}

}  // namespace

cairn::GenerateOptions options_of(const py::dict& given) {
  cairn::GenerateOptions options;
  for (const auto& [key, value] : given) {
    const auto name = key.cast<std::string>();
    const auto found = fields().find(name);
    if (found == fields().end()) throw py::type_error("there is no option '" + name + "'");
    if (value.is_none()) continue;
    try {
      found->second(options, value);
    } catch (const py::cast_error&) {
      throw py::type_error(name + ": " + py::repr(value).cast<std::string>() + " is no value for it");
    }
  }
  return options;
}

}  // namespace binding
