#include <memory>

#include "cli/parser/values.hpp"
#include "cli/video/flags/flags.hpp"

namespace cairn::cli {

void add_video_work(CLI::App& video, const std::function<void(WorkFlags&)>& work) {
  auto flags = std::make_shared<WorkFlags>();
  CLI::App& command =
      *video.add_subcommand("work", "do jobs of a list that `cairn video encode --job-list` wrote");
  command.add_option("LIST", flags->list, "the list")->required()->type_name("FILE");
  command.add_option("INDEX", flags->indices, "numbers of jobs, from 0; none: all that are not done")
      ->type_name("N");
  command.add_option("--threads", flags->threads, "of each job (0: all processors)")->capture_default_str();
  command.footer(
      "A job's result appears beside the list, whole or not at all: who does it again does no harm. A job "
      "that\n"
      "is done is not done again.\n"
      "Examples: cairn video work clip.jobs 3\n"
      "          cairn video work clip.jobs $SLURM_ARRAY_TASK_ID --threads 4");
  command.callback([flags, work] { work(*flags); });
}

void add_video_join(CLI::App& video, const std::function<void(JoinFlags&)>& work) {
  auto flags = std::make_shared<JoinFlags>();
  CLI::App& command = *video.add_subcommand("join", "join the results of a list's jobs to one video");
  command.add_option("LIST", flags->list, "the list, whose jobs are done")->required()->type_name("FILE");
  command.add_option("-o,--output", flags->output, "the Matroska file to write (usual: as the list says)");
  add_output_flags(command, flags->files);
  command.add_flag("--json", flags->json, "the result as JSON");
  command.footer(
      "The list and its jobs' files are removed in the end.\n"
      "Example: cairn video join clip.jobs");
  command.callback([flags, work] { work(*flags); });
}

}  // namespace cairn::cli
