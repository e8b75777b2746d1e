// A table of commands, and the conditions that each of them is put into: what is at stake is that no work is
// lost, nothing crashes and nothing hangs.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <ostream>
#include <string>
#include <tuple>
#include <vector>

namespace cairn::testing {

// A command on small files in a folder.
struct Command {
  std::string name;
  std::vector<std::string> arguments;  // without the output
  std::vector<std::string> inputs;     // paths that it reads
  std::vector<std::string> output;     // "-o", PATH; empty: it writes none
  bool streams = false;                // to standard output, before the output is written
  bool long_lived = false;             // takes so long that a signal finds it at work
};

enum class Stream { usual, closed, full, left };  // left: a pipe whose reader is gone

struct Outcome {
  int status = 0;  // of exit, or 1000 plus the signal's number
  std::string out, err;
  double seconds = 0;  // from the signal to the end, or the whole
};

struct Circumstances {
  std::array<Stream, 3> streams = {};
  int signal = 0;  // sent after `delay` seconds, if it has not ended by then
  double delay = 0;
  uint64_t file_bytes = 0;  // that a file may have at most; 0: no limit
};

// Runs the program; ends it and fails the test when it takes longer than four minutes.
Outcome run_under(const std::vector<std::string>& arguments, const Circumstances& circumstances = {});

void expect_inputs_are_no_outputs(const Command& command);
void expect_existing_outputs_stay(const Command& command);
void expect_unwritable_outputs_are_named(const Command& command);
void expect_full_disks_are_named(const Command& command);
void expect_any_streams_are_survived(const Command& command);
void expect_signals_end_it(const Command& command);

// What is expected of a command that writes a file, and of every other.
struct Condition {
  const char* name;
  void (*expect)(const Command& command);
};
inline void PrintTo(const Condition& condition, std::ostream* out) {
  *out << condition.name;
}
inline constexpr Condition kConditionsOfWriters[] = {
    {"InputsAreNoOutputs", expect_inputs_are_no_outputs},
    {"ExistingOutputsStay", expect_existing_outputs_stay},
    {"UnwritableOutputsAreNamed", expect_unwritable_outputs_are_named},
    {"FullDisksAreNamed", expect_full_disks_are_named},
    {"AnyStreamsAreSurvived", expect_any_streams_are_survived},
    {"SignalsEndThem", expect_signals_end_it},
};
inline constexpr Condition kConditionsOfOthers[] = {
    {"AnyStreamsAreSurvived", expect_any_streams_are_survived},
    {"SignalsEndThem", expect_signals_end_it},
};

// A command's name and one condition, as a test's parameter.
using Case = std::tuple<const char*, Condition>;
inline std::string name_of_case(const ::testing::TestParamInfo<Case>& info) {
  return std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param).name;
}

}  // namespace cairn::testing
