#pragma once

#include <string>

#include "measure/benchmark.hpp"

namespace cairn::cli {

// `bench --sequences`: a resolved model's tokens a second, many sequences together and one after the other.
void bench_sequences(const std::string& path, uint32_t sequences, const measure::BenchmarkOptions& options,
                     bool json);

// `bench --gap`: how long those who answer wait for a token while a prompt is read beside them.
void bench_gap(const std::string& path, uint32_t sequences, const measure::BenchmarkOptions& options,
               bool json);

// `bench --restart`: a prompt's first token, its prefix on disk.
void bench_restart(const std::string& path, const measure::BenchmarkOptions& options, bool json);

}  // namespace cairn::cli
