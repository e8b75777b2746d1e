#include <algorithm>

#include "jinja/interpreter.hpp"
#include "jinja/operators.hpp"
#include "jinja/represent.hpp"

namespace cairn::jinja {
namespace {

class MacroObject : public Object {
 public:
  MacroObject(Interpreter& interpreter, const ast::Macro& macro, std::shared_ptr<Scope> scope)
      : interpreter_(interpreter), macro_(macro), scope_(std::move(scope)) {}
  std::string_view type() const override { return "Macro"; }
  std::string represent(Runtime&) const override {
    return macro_.name.empty() ? "<Macro anonymous>" : fmt::format("<Macro {}>", represent_text(macro_.name));
  }
  bool callable() const override { return true; }
  Value call(Runtime&, Arguments& arguments) override {
    return interpreter_.call_macro(macro_, scope_, arguments);
  }
  std::optional<Value> attribute(Runtime&, std::string_view name) override {
    if (name == "name") return macro_.name.empty() ? Value() : Value(macro_.name);
    if (name == "arguments") {
      std::vector<Value> names;
      for (const auto& parameter : macro_.parameters) names.emplace_back(parameter.name);
      return Value::tuple(std::move(names));
    }
    if (name == "catch_kwargs") return macro_.uses_kwargs;
    if (name == "catch_varargs") return macro_.uses_varargs;
    if (name == "caller") return macro_.uses_caller;
    return std::nullopt;
  }

 private:
  Interpreter& interpreter_;
  const ast::Macro& macro_;
  std::shared_ptr<Scope> scope_;
};

std::optional<Value> take_named(Arguments& arguments, std::string_view name) {
  std::optional<Value> value;
  for (auto given = arguments.named.begin(); given != arguments.named.end(); ++given) {
    if (given->first != name) continue;
    value = given->second;
    arguments.named.erase(given);
    break;
  }
  return value;
}

[[noreturn]] void unexpected_named(const ast::Macro& macro, const Arguments& arguments) {
  const std::string name = macro.name.empty() ? "None" : represent_text(macro.name);
  for (const auto& [given, unused] : arguments.named) {
    if (given == "caller") {
      fail(ErrorCode::invalid_argument,
           "macro {} was invoked with two values for the special caller argument. This is most likely a bug.",
           name);
    }
  }
  fail(ErrorCode::invalid_argument, "macro {} takes no keyword argument {}", name,
       represent_text(arguments.named[0].first));
}

}  // namespace

Value Interpreter::macro_object(const ast::Macro& macro, const ScopePtr& scope) {
  runtime_.keep(scope);
  return Value(std::make_shared<MacroObject>(*this, macro, scope));
}

Interpreter::Flow Interpreter::execute(const ast::Macro& node, const ScopePtr& scope, TextBuilder&) {
  scope->set(node.name, macro_object(node, scope));
  return Flow::next;
}

Interpreter::Flow Interpreter::execute(const ast::CallBlock& node, const ScopePtr& scope, TextBuilder& out) {
  const Value caller = macro_object(node.caller, scope);
  out += to_text(runtime_, call(std::get<ast::Call>(node.call->node), node.call->at, scope, &caller));
  return Flow::next;
}

// jinja2.runtime.Macro.__call__
Value Interpreter::call_macro(const ast::Macro& macro, const ScopePtr& outer, Arguments& arguments) {
  const size_t count = macro.parameters.size();
  const size_t by_position = std::min(arguments.positional.size(), count);
  const auto scope = std::make_shared<Scope>(outer);
  std::vector<std::optional<Value>> values(count);
  bool explicit_caller = false;
  for (size_t i = 0; i < count; ++i) {
    const auto& name = macro.parameters[i].name;
    if (i < by_position) {
      values[i] = arguments.positional[i];
    } else {
      values[i] = take_named(arguments, name);
    }
    explicit_caller |= name == "caller";
  }
  std::optional<Value> caller;
  if (macro.uses_caller && !explicit_caller) {
    caller = take_named(arguments, "caller");
    if (!caller || caller->is_none()) caller = Value::missing("No caller defined");
  }
  if (!macro.uses_kwargs && !arguments.named.empty()) unexpected_named(macro, arguments);
  if (!macro.uses_varargs && arguments.positional.size() > count) {
    fail(ErrorCode::invalid_argument, "macro {} takes not more than {} argument(s)",
         macro.name.empty() ? "None" : represent_text(macro.name), count);
  }
  for (const auto& parameter : macro.parameters) {
    if (!scope->find(parameter.name)) scope->reserve(parameter.name);
  }
  if (caller) scope->set("caller", *caller);
  if (macro.uses_kwargs) {
    Dict named;
    for (const auto& [name, value] : arguments.named) named.set(Value(name), value);
    scope->set("kwargs", Value::dict(std::move(named)));
  }
  if (macro.uses_varargs) {
    std::vector<Value> rest(arguments.positional.begin() + static_cast<std::ptrdiff_t>(by_position),
                            arguments.positional.end());
    scope->set("varargs", Value::tuple(std::move(rest)));
  }
  for (size_t i = 0; i < count; ++i) {
    if (values[i]) scope->set(macro.parameters[i].name, *values[i]);
  }
  for (size_t i = 0; i < count; ++i) {
    if (values[i]) continue;
    const auto& parameter = macro.parameters[i];
    scope->set(parameter.name, parameter.otherwise
                                   ? evaluate(*parameter.otherwise, scope)
                                   : Value::missing(fmt::format("parameter {} was not provided",
                                                                represent_text(parameter.name))));
  }
  TextBuilder out;
  run(macro.body, scope, out);
  return Value(out.take());
}

}  // namespace cairn::jinja
