#include "jinja/builtins.hpp"
#include "jinja/interpreter.hpp"
#include "jinja/operators.hpp"

namespace cairn::jinja {
namespace {

// The variable `loop` (jinja2.runtime.LoopContext). Looks one item ahead only when it is asked to: the
// condition of a filtered loop may depend on what the body did.
class Loop : public Object {
 public:
  using Recurse = std::function<Value(const Value& items)>;

  Loop(Value source, std::shared_ptr<Iterator> items, bool sized, size_t depth, Recurse recurse)
      : source_(std::move(source)), items_(std::move(items)), recurse_(std::move(recurse)), depth0_(depth) {
    if (sized) length_ = jinja::length(source_);
  }

  bool advance(Value& item) {
    previous_ = std::move(current_);
    if (ahead_) {
      current_ = std::exchange(ahead_, std::nullopt);
    } else {
      Value fresh;
      const auto items =
          items_;  // the condition may ask this very loop for its length, which replaces items_
      if (!items->next(fresh)) return false;
      current_ = std::move(fresh);
    }
    ++index0_;
    item = *current_;
    return true;
  }

  // Lets go of the items: a template may keep the loop itself, and loops that hold loops would grow without
  // bound.
  void finish() {
    previous_ = current_ = ahead_ = changed_ = std::nullopt;
    source_ = Value();
    items_ = generator(source_, [](Value&) { return false; });
    recurse_ = nullptr;
  }

  std::string_view type() const override { return "LoopContext"; }
  std::string represent(Runtime&) const override {
    return fmt::format("<LoopContext {}/{}>", index0_ + 1, length_ ? *length_ : 0);
  }
  std::optional<size_t> length() const override { return const_cast<Loop*>(this)->count(); }
  bool iterable() const override { return true; }
  std::shared_ptr<Iterator> iterate() override {
    fail(ErrorCode::unsupported, "walking the loop variable itself");
  }
  bool callable() const override { return true; }
  Value call(Runtime&, Arguments& arguments) override {
    const Bound a("loop", arguments, {"iterable"}, 1);
    if (!recurse_) {
      fail(ErrorCode::invalid_argument,
           "The loop must have the 'recursive' marker to be called recursively.");
    }
    return recurse_(a[0]);
  }
  uint32_t depth() const override { return source_.extent().depth + 1; }

  std::optional<Value> attribute(Runtime&, std::string_view name) override {
    if (name == "index") return index0_ + 1;
    if (name == "index0") return index0_;
    if (name == "first") return index0_ == 0;
    if (name == "last") return !peek();
    if (name == "length") return count();
    if (name == "revindex") return static_cast<int64_t>(count()) - index0_;
    if (name == "revindex0") return static_cast<int64_t>(count()) - index0_ - 1;
    if (name == "depth") return depth0_ + 1;
    if (name == "depth0") return depth0_;
    if (name == "previtem")
      return index0_ > 0 && previous_ ? *previous_ : Value::missing("there is no previous item");
    if (name == "nextitem") return peek() ? *ahead_ : Value::missing("there is no next item");
    if (name == "cycle") return method("cycle", cycle);
    if (name == "changed") return method("changed", has_changed);
    return std::nullopt;
  }

 private:
  Value method(std::string_view name, Builtin builtin) {
    return Value(std::make_shared<Function>(name, Value(shared_from_this()), builtin));
  }

  static Value cycle(Runtime&, const Value& self, const Arguments& arguments) {
    const auto& choices = arguments.positional;
    if (choices.empty()) fail(ErrorCode::invalid_argument, "no items for cycling given");
    return choices[static_cast<size_t>(std::max<int64_t>(0, self.as<Loop>()->index0_)) % choices.size()];
  }

  static Value has_changed(Runtime& runtime, const Value& self, const Arguments& arguments) {
    auto& last = self.as<Loop>()->changed_;
    const Value now = Value::tuple(arguments.positional);
    if (last && compare_equal(runtime, *last, now)) return false;
    last = now;
    return true;
  }

  bool peek() {
    if (ahead_) return true;
    Value item;
    const auto items = items_;
    if (!items->next(item)) return false;
    ahead_ = std::move(item);
    return true;
  }

  size_t count() {
    if (length_) return *length_;
    // Of unknown length: walk to the end now, and hand out from memory later.
    std::vector<Value> rest;
    const auto items = items_;
    for (Value item; items->next(item);) rest.push_back(std::move(item));
    length_ = rest.size() + static_cast<size_t>(index0_ + 1) + (ahead_ ? 1 : 0);
    items_ = generator(source_, [rest = std::move(rest), i = size_t{0}](Value& item) mutable {
      if (i >= rest.size()) return false;
      item = rest[i++];
      return true;
    });
    return *length_;
  }

  Value source_;
  std::shared_ptr<Iterator> items_;
  Recurse recurse_;
  int64_t index0_ = -1;
  size_t depth0_;
  std::optional<size_t> length_;
  std::optional<Value> previous_, current_, ahead_, changed_;
};

bool is_sized(const Value& value) {
  return value.is_text() || value.is_sequence() || value.is(Kind::dict) || value.is_missing() ||
         (value.is(Kind::object) && !value.as<Loop>() && value.object().length());
}

}  // namespace

Interpreter::Flow Interpreter::execute(const ast::For& node, const ScopePtr& scope, TextBuilder& out) {
  run_loop(node, evaluate(*node.items, scope), scope, 0, out);
  return Flow::next;
}

Interpreter::Flow Interpreter::run_loop(const ast::For& node, const Value& source, const ScopePtr& scope,
                                        size_t depth, TextBuilder& out) {
  const Nested nested(runtime_);
  std::shared_ptr<Iterator> items = iterate(runtime_, source);
  if (node.condition) {
    items = generator(source, [this, &node, &scope, unfiltered = items](Value& item) {
      while (unfiltered->next(item)) {
        runtime_.step();
        const auto test_scope = std::make_shared<Scope>(scope);
        assign(node.target, item, test_scope);
        if (!truth(evaluate(*node.condition, test_scope))) continue;
        // jinja2 hands on what the targets hold: a list that was unpacked becomes a tuple.
        if (node.target.is_tuple) item = target_value(node.target, test_scope);
        return true;
      }
      return false;
    });
  }
  Loop::Recurse recurse;
  if (node.recursive) {
    recurse = [this, &node, &scope, depth](const Value& inner) {
      TextBuilder text;
      run_loop(node, inner, scope, depth + 1, text);
      return Value(text.take());
    };
  }
  const auto loop =
      std::make_shared<Loop>(source, items, is_sized(source) && !node.condition, depth, recurse);
  bool any = false;
  ScopePtr turn;
  try {
    for (Value item; loop->advance(item);) {
      runtime_.step();
      // A macro made in the last turn may still refer to its frame.
      if (turn && turn.use_count() == 1) {
        turn->clear();
      } else {
        turn = std::make_shared<Scope>(scope);
      }
      turn->set("loop", Value(std::static_pointer_cast<Object>(loop)));
      assign(node.target, item, turn);
      // As in jinja2's generated code, a turn that was broken off, or cut short by continue, does not count.
      const Flow flow = run(node.body, turn, out);
      if (flow == Flow::leave_loop) break;
      any |= flow == Flow::next;
    }
  } catch (...) {
    loop->finish();
    throw;
  }
  loop->finish();
  if (!any) return run(node.otherwise, std::make_shared<Scope>(scope), out);
  return Flow::next;
}

}  // namespace cairn::jinja
