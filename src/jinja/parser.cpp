#include "jinja/parser.hpp"

#include <array>

#include "jinja/expression_parser.hpp"
#include "jinja/limits.hpp"
#include "jinja/names.hpp"
#include "jinja/scopes.hpp"
#include "jinja/token_stream.hpp"

namespace cairn::jinja {
namespace {

// Tags of jinja2 that make no sense for one template alone, and those that no chat template uses.
constexpr std::array<std::string_view, 9> left_out = {"extends",    "block", "include", "import", "from",
                                                      "autoescape", "trans", "do",      "debug"};

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(source), expressions_(tokens_) {}

  ast::Frame run() {
    ast::Frame root;
    root.block = block({});
    return root;
  }

 private:
  using Ends = std::vector<std::string_view>;

  // Statements up to one of the tags `ends`; its name is the current token then. Without ends: to the end.
  ast::Block block(const Ends& ends) {
    ast::Block out;
    for (;;) {
      const Token token = tokens_.current();
      switch (token.kind) {
        case TokenKind::data:
          tokens_.take();
          out.push_back({token.at, ast::Data{token.text}});
          break;
        case TokenKind::print_begin: {
          tokens_.take();
          ast::Print print;
          print.expressions.push_back(expressions_.tuple());
          tokens_.expect(TokenKind::print_end);
          out.push_back({token.at, std::move(print)});
          break;
        }
        case TokenKind::block_begin:
          tokens_.take();
          for (const auto end : ends) {
            if (tokens_.is_name(end)) return out;
          }
          out.push_back(statement(ends));
          tokens_.expect(TokenKind::block_end);
          break;
        case TokenKind::end:
          if (ends.empty()) return out;
          tokens_.stop(
              fmt::format("Unexpected end of template. Jinja was looking for the following tags: {}. "
                          "The innermost block that needs to be closed is '{}'.",
                          listed(ends), open_.empty() ? "" : open_.back()));
        default:
          tokens_.stop(fmt::format("unexpected '{}'", describe(token)));
      }
    }
  }

  static std::string listed(const Ends& ends) {
    std::string out;
    for (const auto end : ends) out += fmt::format("{}'{}'", out.empty() ? "" : " or ", end);
    return out;
  }

  // What stands between a tag and the tag that ends it.
  ast::Block body(const Ends& ends) {
    tokens_.skip_symbol(":");
    tokens_.expect(TokenKind::block_end);
    return block(ends);
  }
  ast::Block body_through(std::string_view end) {
    ast::Block out = body({end});
    tokens_.take();
    return out;
  }

  // The bodies of macros and call blocks are functions: break and continue do not reach out of them.
  template <class Parse>
  auto outside_loops(Parse parse) {
    const size_t outer = std::exchange(loops_, 0);
    auto parsed = parse();
    loops_ = outer;
    return parsed;
  }

  ast::Statement statement(const Ends& ends) {
    if (!tokens_.is(TokenKind::name)) tokens_.stop("tag name expected");
    const Token tag = tokens_.take();
    if (open_.size() >= limits::block_nesting) {
      tokens_.stop(tag.at, ErrorCode::unsupported,
                   fmt::format("blocks nested more than {} levels deep", limits::block_nesting));
    }
    open_.push_back(tag.text);
    ast::Statement out{tag.at, ast::Break{}};
    if (tag.text == "print") {
      out.node = print();
    } else if (tag.text == "set") {
      set(out);
    } else if (tag.text == "for") {
      out.node = for_loop();
    } else if (tag.text == "if") {
      out.node = if_block();
    } else if (tag.text == "macro") {
      out.node = macro();
    } else if (tag.text == "call") {
      out.node = call_block(tag.at);
    } else if (tag.text == "filter") {
      out.node = filter_block();
    } else if (tag.text == "with") {
      out.node = with();
    } else if (tag.text == "generation") {
      out.node = ast::Generation{outside_loops([&] { return frame("endgeneration"); })};
    } else if (tag.text == "break" || tag.text == "continue") {
      if (loops_ == 0) {
        tokens_.stop(tag.at, ErrorCode::format, fmt::format("'{}' outside loop", tag.text));
      }
      if (tag.text == "continue") out.node = ast::Continue{};
    } else {
      unknown(tag, ends);
    }
    open_.pop_back();
    return out;
  }

  [[noreturn]] void unknown(const Token& tag, const Ends& ends) {
    if (std::find(left_out.begin(), left_out.end(), tag.text) != left_out.end()) {
      tokens_.stop(tag.at, ErrorCode::unsupported, fmt::format("the tag '{}' is not supported", tag.text));
    }
    open_.pop_back();
    std::string reason = fmt::format("Encountered unknown tag '{}'.", tag.text);
    if (!ends.empty()) reason += fmt::format(" Jinja was looking for the following tags: {}.", listed(ends));
    if (!open_.empty()) {
      reason += fmt::format(" The innermost block that needs to be closed is '{}'.", open_.back());
    }
    tokens_.stop(tag.at, ErrorCode::format, reason);
  }

  ast::Frame frame(std::string_view end) { return {body_through(end), {}}; }

  ast::Print print() {
    ast::Print out;
    while (!tokens_.is(TokenKind::block_end)) {
      if (!out.expressions.empty()) tokens_.expect_symbol(",");
      out.expressions.push_back(expressions_.expression());
    }
    return out;
  }

  void set(ast::Statement& out) {
    ast::Target target = expressions_.target({}, true);
    if (tokens_.skip_symbol("=")) {
      out.node = ast::Set{std::move(target), expressions_.tuple()};
      return;
    }
    auto filter = expressions_.filters(nullptr);
    out.node = ast::SetBlock{std::move(target), std::move(filter), frame("endset")};
  }

  ast::For for_loop() {
    ast::For out;
    out.target = expressions_.target("in");
    forbid_loop(out.target);
    tokens_.expect_name("in");
    out.items = expressions_.tuple(false, "recursive");
    if (tokens_.skip_name("if")) out.condition = expressions_.expression();
    out.recursive = tokens_.skip_name("recursive");
    ++loops_;
    out.body.block = body({"endfor", "else"});
    --loops_;
    if (tokens_.take().text == "else") out.otherwise.block = body_through("endfor");
    return out;
  }

  void forbid_loop(const ast::Target& target) {
    if (target.name == "loop") {
      tokens_.stop(target.at, ErrorCode::format, "Can't assign to special loop variable in for-loop target");
    }
    for (const auto& member : target.members) forbid_loop(member);
  }

  ast::If if_block() {
    ast::If out;
    for (;;) {
      auto condition = expressions_.tuple(false);
      out.branches.emplace_back(std::move(condition), body({"elif", "else", "endif"}));
      if (tokens_.skip_name("elif")) continue;
      const bool otherwise = tokens_.is_name("else");
      tokens_.take();
      if (otherwise) out.otherwise = body_through("endif");
      return out;
    }
  }

  std::vector<ast::Parameter> signature() {
    std::vector<ast::Parameter> out;
    tokens_.expect_symbol("(");
    while (!tokens_.is_symbol(")")) {
      if (!out.empty()) tokens_.expect_symbol(",");
      ast::Parameter parameter;
      parameter.name = tokens_.expect(TokenKind::name).text;
      if (tokens_.skip_symbol("=")) {
        parameter.otherwise = expressions_.expression();
      } else if (!out.empty() && out.back().otherwise) {
        tokens_.stop("non-default argument follows default argument");
      }
      out.push_back(std::move(parameter));
    }
    tokens_.expect_symbol(")");
    return out;
  }

  // Parses a macro's body and notes which of its special names it reads.
  void macro_body(ast::Macro& out, std::string_view end) {
    const auto outer = std::exchange(expressions_.special, {});
    out.body = outside_loops([&] { return frame(end); });
    const auto inner = expressions_.special;
    const auto has = [&](std::string_view name) {
      return std::any_of(out.parameters.begin(), out.parameters.end(),
                         [&](const ast::Parameter& p) { return p.name == name; });
    };
    out.uses_caller = inner.caller;
    out.uses_varargs = inner.varargs && !has("varargs");
    out.uses_kwargs = inner.kwargs && !has("kwargs");
    for (const auto& parameter : out.parameters) {
      if (inner.caller && parameter.name == "caller" && !parameter.otherwise) {
        tokens_.stop(
            "When defining macros or call blocks the special \"caller\" argument must be omitted or be "
            "given a default.");
      }
    }
    expressions_.special = {outer.caller || inner.caller, outer.varargs || inner.varargs,
                            outer.kwargs || inner.kwargs};
  }

  ast::Macro macro() {
    ast::Macro out;
    out.name = tokens_.expect(TokenKind::name).text;
    out.parameters = signature();
    macro_body(out, "endmacro");
    return out;
  }

  ast::CallBlock call_block(size_t at) {
    ast::CallBlock out;
    if (tokens_.is_symbol("(")) out.caller.parameters = signature();
    out.call = expressions_.expression();
    if (!std::holds_alternative<ast::Call>(out.call->node)) {
      tokens_.stop(at, ErrorCode::format, "expected call");
    }
    macro_body(out.caller, "endcall");
    return out;
  }

  ast::FilterBlock filter_block() {
    ast::FilterBlock out;
    out.filter = expressions_.filters(expressions_.named_filter(nullptr));
    out.body = frame("endfilter");
    return out;
  }

  ast::With with() {
    ast::With out;
    while (!tokens_.is(TokenKind::block_end)) {
      if (!out.assignments.empty()) tokens_.expect_symbol(",");
      ast::Target target = expressions_.target();
      tokens_.expect_symbol("=");
      out.assignments.emplace_back(std::move(target), expressions_.expression());
    }
    out.body = frame("endwith");
    return out;
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  std::vector<std::string> open_;  // tags that are not closed yet
  size_t loops_ = 0;               // loops around, up to the next macro
};

}  // namespace

ast::Frame parse(std::string_view source) {
  ast::Frame root = Parser(source).run();
  check_names(root, source);
  reserve_names(root);
  return root;
}

}  // namespace cairn::jinja
