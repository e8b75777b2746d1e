#include "measure/benchmark_restart.hpp"

#include <algorithm>
#include <filesystem>
#include <random>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "llm/model.hpp"
#include "llm/prefix_files.hpp"
#include "measure/median.hpp"

namespace cairn::measure {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "cairn-prefixes-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) fail(ErrorCode::io, "{}: cannot be made", pattern);
    path_ = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string path() const { return path_.string(); }
  uint64_t bytes() const {
    uint64_t bytes = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(path_)) bytes += entry.file_size();
    return bytes;
  }

 private:
  fs::path path_;
};

}  // namespace

RestartResult run_restart(const std::string& model_path, const BenchmarkOptions& options,
                          const std::function<void(uint32_t done, uint32_t total)>& progress) {
  if (options.prompt == 0 || options.repeat == 0) {
    fail(ErrorCode::invalid_argument, "bench: --prompt ({}) and --repeat ({}) must be at least 1",
         options.prompt, options.repeat);
  }
  const std::shared_ptr<const llm::Model> model = llm::Model::load(model_path);
  engine::Options engine_options = options.engine;
  if (engine_options.context == 0) engine_options.context = options.prompt + 1;
  std::mt19937 random(0);
  std::vector<llm::Token> prompt(options.prompt);
  const size_t tokens = std::min<size_t>(model->parameters().vocabulary, model->tokenizer()->vocabulary());
  for (llm::Token& token : prompt) token = static_cast<llm::Token>(random() % tokens);
  llm::GenerateOptions generate;
  generate.max_tokens = 1;
  generate.ignore_end = true;
  generate.sampler.temperature = 0;
  generate.cancelled = interrupted;

  RestartResult result{};
  std::vector<double> first, again, ratio;
  for (uint32_t i = 0; i < options.repeat; ++i) {
    if (progress) progress(i, options.repeat);
    const Folder folder;
    const auto run = [&] {
      llm::Session session =
          model->make_session(options.make_engine ? options.make_engine(*model, engine_options)
                                                  : model->make_engine(engine_options));
      const Stopwatch watch;
      llm::PrefixFilesOptions files{.folder = folder.path()};
      files.warn = [](const std::string& line) { fail(ErrorCode::io, "{}", line); };
      llm::check_prefixes(model->file(), session.engine());
      session.keep_prefixes(std::make_shared<llm::PrefixFiles>(model->file(), session.engine(), files));
      const double before = watch.seconds();
      const llm::Result answer = session.generate(prompt, generate);
      throw_if_interrupted();
      result.cached_tokens = answer.statistics.cached_tokens;
      return before + answer.statistics.first_token_seconds;
    };
    first.push_back(run());
    again.push_back(run());
    ratio.push_back(again.back() / first.back());
    result.rounds.push_back({first.back(), again.back()});
    result.bytes = folder.bytes();
  }
  result.first_s = median(std::move(first));
  result.again_s = median(std::move(again));
  result.ratio = median(std::move(ratio));
  return result;
}

}  // namespace cairn::measure
