#include "cli/pooling_flag.hpp"

#include "cli/parser/values.hpp"

namespace cairn::cli {

void add_pooling_flag(CLI::App& command, std::optional<llm::Pooling>& pooling) {
  command
      .add_option(
          "--pooling", pooling,
          "how a text's states become its embedding: their mean, the first token's or the last's (what "
          "the model's file says, else mean)")
      ->transform(one_of<llm::Pooling>(
          {{"mean", llm::Pooling::mean}, {"first", llm::Pooling::first}, {"last", llm::Pooling::last}}));
}

}  // namespace cairn::cli
