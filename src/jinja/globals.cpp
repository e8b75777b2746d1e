#include <algorithm>
#include <ctime>

#include "jinja/builtins.hpp"
#include "jinja/operators.hpp"
#include "jinja/represent.hpp"
#include "jinja/runtime.hpp"

namespace cairn::jinja {
namespace {

Value raise_exception(Runtime& runtime, const Value&, const Arguments& arguments) {
  const Bound a("raise_exception", arguments, {"message"}, 1);
  fail(ErrorCode::invalid_argument, "{}", to_text(runtime, a[0]));
}

Value strftime_now(Runtime& runtime, const Value&, const Arguments& arguments) {
  const Bound a("strftime_now", arguments, {"format"}, 1);
  const std::time_t seconds = std::chrono::system_clock::to_time_t(runtime.now());
  std::tm local{};
  localtime_r(&seconds, &local);
  const auto format = a.text(0);
  TextBuilder out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format.substr(i, 1);
      continue;
    }
    if (format[i + 1] == 'f') {  // Python's own: microseconds
      const auto micros =
          std::chrono::duration_cast<std::chrono::microseconds>(runtime.now().time_since_epoch());
      out += fmt::format("{:06}", (micros.count() % 1'000'000 + 1'000'000) % 1'000'000);
      ++i;
      continue;
    }
    if (format[i + 1] == 'z' || format[i + 1] == 'Z') {  // a datetime without a time zone prints nothing
      ++i;
      continue;
    }
    // glibc's flags (%-d) and its conversions, one at a time
    size_t end = i + 1;
    while (end < format.size() && std::string_view("-_0^#").find(format[end]) != std::string_view::npos)
      ++end;
    const std::string conversion(format.substr(i, end + 1 - i));
    char buffer[128];
    const size_t written = std::strftime(buffer, sizeof buffer, conversion.c_str(), &local);
    out += std::string_view(buffer, written);
    i = std::min(end, format.size() - 1);
  }
  return out.take();
}

Value range(Runtime&, const Value&, const Arguments& arguments) {
  const Bound a("range", arguments, {"", "", ""}, 1);
  if (!a.has(1)) return Value(std::make_shared<Range>(0, a.integer(0), 1));
  return Value(std::make_shared<Range>(a.integer(0), a.integer(1), a.integer(2, 1)));
}

// dict(mapping or pairs, name=value, ...)
Dict make_dict(Runtime& runtime, const Arguments& arguments) {
  if (arguments.positional.size() > 1) {
    fail(ErrorCode::invalid_argument, "dict expected at most 1 argument, got {}",
         arguments.positional.size());
  }
  Dict dict;
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    const Value pairs =
        source.is(Kind::dict) ? Value(std::make_shared<View>(source, View::Part::items)) : source;
    const auto iterator = iterate(runtime, pairs);
    size_t i = 0;
    for (Value pair; iterator->next(pair); ++i) {
      const auto parts = collect(runtime, pair);
      if (parts.size() != 2) {
        fail(ErrorCode::invalid_argument,
             "dictionary update sequence element #{} has length {}; 2 is required", i, parts.size());
      }
      runtime.made_items(2);
      dict.set(parts[0], parts[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) dict.set(Value(name), value);
  return dict;
}

Value dict(Runtime& runtime, const Value&, const Arguments& arguments) {
  return Value::dict(make_dict(runtime, arguments));
}

Value make_namespace(Runtime& runtime, const Value&, const Arguments& arguments) {
  const auto object = std::make_shared<Namespace>();
  const Dict initial = make_dict(runtime, arguments);
  for (const auto& [name, value] : initial.entries()) {
    if (!name.is_text()) fail(ErrorCode::unsupported, "a namespace with a name that is not a string");
    object->set(name.text(), value);
  }
  runtime.keep(object);
  return Value(object);
}

template <char first>
Value left_out(Runtime&, const Value&, const Arguments&) {
  fail(ErrorCode::unsupported, "the function '{}'",
       first == 'c'   ? "cycler"
       : first == 'j' ? "joiner"
                      : "lipsum");
}

constexpr Method table[] = {
    {"cycler", left_out<'c'>},
    {"dict", dict},
    {"joiner", left_out<'j'>},
    {"lipsum", left_out<'l'>},
    {"namespace", make_namespace},
    {"raise_exception", raise_exception},
    {"range", range},
    {"strftime_now", strftime_now},
};

}  // namespace

const Method* find_global(std::string_view name) {
  const auto* found =
      std::find_if(std::begin(table), std::end(table), [&](const Method& m) { return m.name == name; });
  return found == std::end(table) ? nullptr : found;
}

}  // namespace cairn::jinja
