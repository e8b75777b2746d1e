#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "jinja/operators.hpp"
#include "jinja/value.hpp"

// The syntax tree of a template.
namespace cairn::jinja::ast {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;  // nullptr where something optional is absent

struct Constant {
  Value value;
};
struct Name {
  std::string id;
};
struct List {
  std::vector<ExpressionPtr> items;
};
struct Tuple {
  std::vector<ExpressionPtr> items;
};
struct DictLiteral {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> entries;
};
struct Attribute {
  ExpressionPtr object;
  std::string name;
};
struct Subscript {
  ExpressionPtr object, index;
};
struct Slice {
  ExpressionPtr object, start, stop, step;
};
struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr star, double_star;
};
struct Call {
  ExpressionPtr callee;
  CallArguments arguments;
};
struct Filter {
  ExpressionPtr input;  // nullptr: what the block around it rendered
  std::string name;
  CallArguments arguments;
};
struct Test {
  ExpressionPtr input;
  std::string name;
  CallArguments arguments;
};
enum class UnaryOperator { logical_not, minus, plus };
struct Unary {
  UnaryOperator op;
  ExpressionPtr operand;
};
struct Binary {
  Arithmetic op;
  ExpressionPtr left, right;
};
struct Logical {
  bool is_and;
  ExpressionPtr left, right;
};
enum class Relation { equal, not_equal, less, less_equal, greater, greater_equal, in, not_in };
struct Comparison {  // a < b <= c
  ExpressionPtr first;
  std::vector<std::pair<Relation, ExpressionPtr>> rest;
};
struct Concat {  // a ~ b ~ c
  std::vector<ExpressionPtr> parts;
};
struct Conditional {
  ExpressionPtr condition, then, otherwise;
};

struct Expression {
  size_t at;  // byte offset in the source
  std::variant<Constant, Name, List, Tuple, DictLiteral, Attribute, Subscript, Slice, Call, Filter, Test,
               Unary, Binary, Logical, Comparison, Concat, Conditional>
      node;
  size_t height = 1;  // of the tree; bounded by limits::expression_height
};

struct Target {  // of an assignment
  std::string name;
  std::string attribute;        // of the namespace `name`, when not empty
  std::vector<Target> members;  // when a tuple; `name` is empty then
  size_t at = 0;
  bool is_tuple = false;
};

struct Statement;
using Block = std::vector<Statement>;

// A block with variables of its own.
struct Frame {
  Block block;
  std::vector<std::string> reserved;  // see Scope::reserve
};

struct Data {
  std::string text;
};
struct Print {
  std::vector<ExpressionPtr> expressions;
};
struct Set {
  Target target;
  ExpressionPtr value;
};
struct SetBlock {
  Target target;
  ExpressionPtr filter;
  Frame body;
};
struct For {
  Target target;
  ExpressionPtr items, condition;
  bool recursive = false;
  Frame body, otherwise;
};
struct If {
  std::vector<std::pair<ExpressionPtr, Block>> branches;
  Block otherwise;
};
struct Parameter {
  std::string name;
  ExpressionPtr otherwise;
};
struct Macro {
  std::string name;  // empty: the body of a call block
  std::vector<Parameter> parameters;
  Frame body;
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};
struct CallBlock {
  Macro caller;
  ExpressionPtr call;
};
struct FilterBlock {
  ExpressionPtr filter;
  Frame body;
};
struct With {
  std::vector<std::pair<Target, ExpressionPtr>> assignments;
  Frame body;
};
struct Generation {  // marks the assistant's own words; renders its body
  Frame body;
};
struct Break {};
struct Continue {};

struct Statement {
  size_t at;
  std::variant<Data, Print, Set, SetBlock, For, If, Macro, CallBlock, FilterBlock, With, Generation, Break,
               Continue>
      node;
};

// Calls visit(const Expression&) for each direct child.
template <class Visit>
void for_each_child(const CallArguments& arguments, Visit&& visit) {
  for (const auto& item : arguments.positional) visit(*item);
  for (const auto& [name, item] : arguments.named) visit(*item);
  if (arguments.star) visit(*arguments.star);
  if (arguments.double_star) visit(*arguments.double_star);
}

template <class Visit>
void for_each_child(const Expression& expression, Visit&& visit) {
  const auto maybe = [&](const ExpressionPtr& child) {
    if (child) visit(*child);
  };
  std::visit(
      [&](const auto& node) {
        using T = std::decay_t<decltype(node)>;
        if constexpr (std::is_same_v<T, List> || std::is_same_v<T, Tuple>) {
          for (const auto& item : node.items) visit(*item);
        } else if constexpr (std::is_same_v<T, DictLiteral>) {
          for (const auto& [key, value] : node.entries) {
            visit(*key);
            visit(*value);
          }
        } else if constexpr (std::is_same_v<T, Attribute>) {
          visit(*node.object);
        } else if constexpr (std::is_same_v<T, Subscript>) {
          visit(*node.object);
          visit(*node.index);
        } else if constexpr (std::is_same_v<T, Slice>) {
          visit(*node.object);
          maybe(node.start);
          maybe(node.stop);
          maybe(node.step);
        } else if constexpr (std::is_same_v<T, Call>) {
          visit(*node.callee);
          for_each_child(node.arguments, visit);
        } else if constexpr (std::is_same_v<T, Filter> || std::is_same_v<T, Test>) {
          maybe(node.input);
          for_each_child(node.arguments, visit);
        } else if constexpr (std::is_same_v<T, Unary>) {
          visit(*node.operand);
        } else if constexpr (std::is_same_v<T, Binary> || std::is_same_v<T, Logical>) {
          visit(*node.left);
          visit(*node.right);
        } else if constexpr (std::is_same_v<T, Comparison>) {
          visit(*node.first);
          for (const auto& [relation, operand] : node.rest) visit(*operand);
        } else if constexpr (std::is_same_v<T, Concat>) {
          for (const auto& part : node.parts) visit(*part);
        } else if constexpr (std::is_same_v<T, Conditional>) {
          visit(*node.then);
          visit(*node.condition);
          maybe(node.otherwise);
        }
      },
      expression.node);
}

}  // namespace cairn::jinja::ast
