#include "jinja/scopes.hpp"

#include <map>
#include <string_view>

namespace cairn::jinja {
namespace {

// How a frame gets a name's first value: as a parameter, from the outer frame or the context, or not at all.
enum class Source { parameter, outer, none };

class Symbols {
 public:
  explicit Symbols(const Symbols* parent) : parent_(parent) {}

  void declare(std::string_view name) { names_[name] = Source::parameter; }
  void load(std::string_view name) {
    if (!known(name)) names_.emplace(name, Source::outer);
  }
  void store(std::string_view name) {
    stored_[name] = true;
    if (!names_.contains(name)) names_[name] = parent_ && parent_->known(name) ? Source::outer : Source::none;
  }
  // What was stored in some branches only may still come from outside.
  void merge(const std::vector<Symbols>& branches) {
    std::vector<std::string_view> fresh;
    for (const Symbols& branch : branches) {
      for (const auto& [name, unused] : branch.stored_) {
        if (!stored_.contains(name)) fresh.push_back(name);
      }
    }
    for (const Symbols& branch : branches) {
      for (const auto& [name, source] : branch.names_) names_[name] = source;
      stored_.insert(branch.stored_.begin(), branch.stored_.end());
    }
    for (const auto name : fresh) names_[name] = Source::outer;
  }
  std::vector<std::string> reserved() const {
    std::vector<std::string> out;
    for (const auto& [name, source] : names_) {
      if (source == Source::none) out.emplace_back(name);
    }
    return out;
  }

 private:
  bool known(std::string_view name) const {
    return names_.contains(name) || (parent_ && parent_->known(name));
  }
  const Symbols* parent_;
  std::map<std::string_view, Source> names_;
  std::map<std::string_view, bool> stored_;
};

void load(Symbols& symbols, const ast::Expression& expression) {
  if (const auto* name = std::get_if<ast::Name>(&expression.node)) symbols.load(name->id);
  ast::for_each_child(expression, [&](const ast::Expression& child) { load(symbols, child); });
}

void load(Symbols& symbols, const ast::ExpressionPtr& expression) {
  if (expression) load(symbols, *expression);
}

void store(Symbols& symbols, const ast::Target& target, bool as_parameter = false) {
  for (const auto& member : target.members) store(symbols, member, as_parameter);
  if (target.name.empty()) return;
  if (!target.attribute.empty()) {
    symbols.load(target.name);
  } else if (as_parameter) {
    symbols.declare(target.name);
  } else {
    symbols.store(target.name);
  }
}

void scan(Symbols& symbols, const ast::Block& block);

void scan(Symbols& symbols, const ast::Statement& statement) {
  std::visit(
      [&](const auto& node) {
        using T = std::decay_t<decltype(node)>;
        if constexpr (std::is_same_v<T, ast::Print>) {
          for (const auto& expression : node.expressions) load(symbols, expression);
        } else if constexpr (std::is_same_v<T, ast::Set>) {
          load(symbols, node.value);
          store(symbols, node.target);
        } else if constexpr (std::is_same_v<T, ast::SetBlock>) {
          store(symbols, node.target);
        } else if constexpr (std::is_same_v<T, ast::For>) {
          load(symbols, node.items);
        } else if constexpr (std::is_same_v<T, ast::If>) {
          // An elif is an if inside the else in jinja2's tree; its branches merge the same way.
          std::vector<Symbols> branches;
          for (const auto& [condition, body] : node.branches) {
            load(symbols, condition);
            branches.push_back(symbols);
            scan(branches.back(), body);
          }
          branches.push_back(symbols);
          scan(branches.back(), node.otherwise);
          symbols.merge(branches);
        } else if constexpr (std::is_same_v<T, ast::Macro>) {
          symbols.store(node.name);
        } else if constexpr (std::is_same_v<T, ast::CallBlock>) {
          load(symbols, node.call);
        } else if constexpr (std::is_same_v<T, ast::FilterBlock>) {
          load(symbols, node.filter);
        } else if constexpr (std::is_same_v<T, ast::With>) {
          for (const auto& [target, value] : node.assignments) load(symbols, value);
        }
      },
      statement.node);
}

void scan(Symbols& symbols, const ast::Block& block) {
  for (const auto& statement : block) scan(symbols, statement);
}

void descend(const Symbols& symbols, ast::Block& block);

void finish(Symbols& symbols, ast::Frame& frame) {
  scan(symbols, frame.block);
  frame.reserved = symbols.reserved();
  descend(symbols, frame.block);
}

void finish_macro(const Symbols& outer, ast::Macro& macro) {
  Symbols symbols(&outer);
  for (const auto& parameter : macro.parameters) symbols.declare(parameter.name);
  if (macro.uses_caller) symbols.declare("caller");
  if (macro.uses_varargs) symbols.declare("varargs");
  if (macro.uses_kwargs) symbols.declare("kwargs");
  for (const auto& parameter : macro.parameters) load(symbols, parameter.otherwise);
  finish(symbols, macro.body);
}

// The frames inside a block, once all names of the block's own frame are known.
void descend(const Symbols& symbols, ast::Block& block) {
  for (auto& statement : block) {
    std::visit(
        [&](auto& node) {
          using T = std::decay_t<decltype(node)>;
          Symbols inner(&symbols);
          if constexpr (std::is_same_v<T, ast::SetBlock> || std::is_same_v<T, ast::FilterBlock> ||
                        std::is_same_v<T, ast::Generation>) {
            if constexpr (std::is_same_v<T, ast::FilterBlock>) load(inner, node.filter);
            finish(inner, node.body);
          } else if constexpr (std::is_same_v<T, ast::For>) {
            Symbols otherwise(&symbols);
            inner.declare("loop");
            store(inner, node.target, true);
            finish(inner, node.body);
            finish(otherwise, node.otherwise);
          } else if constexpr (std::is_same_v<T, ast::If>) {
            for (auto& [condition, body] : node.branches) descend(symbols, body);
            descend(symbols, node.otherwise);
          } else if constexpr (std::is_same_v<T, ast::Macro>) {
            finish_macro(symbols, node);
          } else if constexpr (std::is_same_v<T, ast::CallBlock>) {
            finish_macro(symbols, node.caller);
          } else if constexpr (std::is_same_v<T, ast::With>) {
            for (auto& [target, value] : node.assignments) store(inner, target, true);
            finish(inner, node.body);
          }
        },
        statement.node);
  }
}

}  // namespace

void reserve_names(ast::Frame& root) {
  Symbols symbols(nullptr);
  finish(symbols, root);
}

}  // namespace cairn::jinja
