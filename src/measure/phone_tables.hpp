// The simulated phones beside what was published of real ones, a table a question. Nothing here is fitted to
// what a table compares with, but for the decoding of Persona-Chat (simulated::constants says what is).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "measure/published.hpp"
#include "offload/simulated/forms.hpp"
#include "offload/simulated/phone.hpp"
#include "offload/simulated/times.hpp"
#include "offload/tasks.hpp"

namespace cairn::measure {

struct TableOptions {
  std::vector<std::string> phones{}, models{};  // names of find_phone and find_shape
  std::vector<uint32_t> prompts{};              // tokens; of tasks their own
  uint32_t chunk = 256;                         // the paper's; 0: chosen by the simulated times
  offload::Policy policy = offload::Policy::look_ahead;
  double prune = 0.85;
};

// Published values are 0 where there are none.
struct SpeedRow {
  std::string_view phone, model;
  uint32_t prompt = 0;
  double tok_s = 0, published = 0;
  std::string_view source{};  // of the published one
  double over_llama_cpp = 0;  // how many times as fast; 0: not one of the paper's models
};

// llm.npu's techniques, one more in each row. Without out-of-order execution chunks go in pairs, from the
// third row on; before that overlap is all that one chunk's graphs, or products in groups, leave room for.
struct StageRow {
  std::string_view phone, model;
  uint32_t prompt = 0;
  offload::Stage stage = offload::Stage::naive;
  offload::Policy policy = offload::Policy::overlap;
  double tok_s = 0, published = 0;
  double step = 0, published_step = 0;  // over the row before
};

struct TaskRow {
  std::string_view task, model;
  uint32_t prompt = 0;
  double output = 0;
  double prefill = 0, published_prefill = 0, decode = 0, published_decode = 0;  // seconds
  double total() const { return prefill + decode; }
  double published_total() const { return published_prefill + published_decode; }
};

struct EnergyRow {
  std::string_view phone, model;
  uint32_t prompt = 0;
  double joules = 0, watts = 0;
  double saving = 0;         // llama.cpp's joules over these; 0: not one of the paper's models
  Range published = {0, 0};  // of the saving, over all models; {0, 0}: none
};

// What merging the shadow results of all inputs takes, as shares of a prompt's latency and energy.
struct MergeShares {
  double latency, energy;
};

struct ScheduleRow {
  std::string_view phone, model;
  uint32_t prompt;
  offload::Policy policy;
  double tok_s, npu_idle, waiting;  // Timeline::bubble of the NPU, Timeline::waiting
};

struct FormRow {
  std::string_view phone, model;
  uint32_t prompt;
  offload::Form form;
  offload::Crossings a_layer;  // of one chunk, the prompt's last
  offload::Crossings all;      // of the prompt
  double tok_s, npu_idle, cpu_busy, joules;
};

const offload::simulated::PhoneConstants& phone_named(const std::string& name);  // invalid_argument: unknown
// Errors: invalid_argument (phone, model, prompt, chunk, prune), unsupported (mixtures, recurrent states).
// The tables throw the same.
void check(const TableOptions& options);
std::vector<SpeedRow> speed_rows(const TableOptions& options);
std::vector<StageRow> stage_rows(const TableOptions& options);  // options.policy is the last row's
std::vector<TaskRow> task_rows(const TableOptions& options);    // of the first phone
std::vector<EnergyRow> energy_rows(const TableOptions& options);
std::vector<ScheduleRow> schedule_rows(const TableOptions& options);  // all policies
std::vector<FormRow> form_rows(const TableOptions& options);          // all forms
MergeShares merge_shares(const TableOptions& options);                // first phone, model and prompt

// Seconds of llama.cpp's prefill on a phone's CPU: at the speed of the paper's nearest task, on another chip
// slower as its CPU is.
double llama_cpp_seconds(const offload::simulated::PhoneConstants& phone, std::string_view model,
                         uint32_t prompt);

// How far simulated values are from published ones: the geometric mean of their ratios, and the ratio
// furthest from 1. Pairs without a published value are left out.
struct Agreement {
  size_t count = 0;
  double mean = 1, furthest = 1;
  void add(double simulated, double published);

 private:
  double logs_ = 0;
};

}  // namespace cairn::measure
