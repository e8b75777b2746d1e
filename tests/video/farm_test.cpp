// A video encoded by parts: the same bytes whoever does the jobs, in whatever order and with whatever
// mishaps.
#include <fstream>
#include <sstream>

#include "encode_fixture.hpp"
#include "video/farm/workers.hpp"

namespace cairn::video {
namespace {

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(Parts, ScenesAreJoinedAndCut) {
  const auto text = [](const std::vector<FrameRange>& parts) {
    std::string all;
    for (const FrameRange& part : parts) all += fmt::format("{}-{} ", part.first, part.end);
    return all;
  };
  EXPECT_EQ(text(cut_parts({0}, 10, 20)), "0-10 ");
  EXPECT_EQ(text(cut_parts({0, 8, 14}, 40, 20)), "0-14 14-27 27-40 ");  // the third is too long for one
  EXPECT_EQ(text(cut_parts({0, 15, 30, 38}, 40, 20)), "0-15 15-30 30-40 ");
}

class Farm : public Encode {
 protected:
  Farm() { parts_.part_seconds = 0.48, parts_.sample_frames = 16; }

  // 40 frames, another scene from frame 22 on.
  std::string make_long(const std::string& name = "long.mkv") {
    VideoInfo info;
    info.format = {128, 96, 8, Chroma::c420};
    info.time_base = {1, 1000};
    info.frame_rate = {25, 1};
    LosslessFile file(path(name), info);
    for (uint32_t i = 0; i < 40; ++i) {
      Frame frame = moving_edges(info.format, i);
      if (i >= 22) {
        for (uint16_t& sample : frame.planes[0].samples) sample = static_cast<uint16_t>(255 - sample / 2);
      }
      frame.pts = 40 * i + (i > 30 ? 7 : 0);
      frame.duration = 40;
      file.write(frame);
    }
    file.finish();
    return path(name);
  }

  static EncodeOptions quick(Mode mode) {
    EncodeOptions o = options(mode);
    o.train_steps = 120;
    if (mode > Mode::x1) o.downscale = Filter::bicubic;
    return o;
  }

  EncodeReport by_jobs(const EncodeOptions& o, const std::string& input, uint32_t jobs,
                       const std::string& output, const std::string& program = CAIRN_PROGRAM) {
    lines_.clear();
    ThreadPool pool(2, ThreadPool::Idle::sleep);
    EncodeProgress progress;
    progress.line = [this](const std::string& line) { lines_ += line + "\n"; };
    return encode_in_parts(input, path(output), o, parts_, {jobs, 1, program}, progress, pool);
  }
  // Of path("jobs").
  JobList make_list(const EncodeOptions& o, const std::string& input, const std::string& output) {
    ThreadPool pool(2, ThreadPool::Idle::sleep);
    const JobList list = make_job_list(input, path(output), o, parts_, {}, pool);
    write_job_list(list, path("jobs"));
    return list;
  }
  PartResult work(size_t part, size_t threads = 1) {
    ThreadPool pool(threads, ThreadPool::Idle::sleep);
    return work_part(path("jobs"), read_job_list(path("jobs")), part, pool);
  }
  // A shell script that does `before` and is then the program.
  std::string program_after(const std::string& before) {
    std::ofstream(path("program")) << "#!/bin/sh\n" << before << "\nexec " CAIRN_PROGRAM " \"$@\"\n";
    std::filesystem::permissions(path("program"), std::filesystem::perms::owner_all);
    return path("program");
  }
  template <class Work>
  static std::string refusal_of(const Work& work) {
    try {
      work();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  PartOptions parts_;
  std::string lines_;
};

TEST_F(Farm, FramesOfARangeAreThoseOfTheWhole) {
  std::string input = make_long();
  int status = 0;
  output_of(
      fmt::format("ffmpeg -loglevel error -y -i {} -c:v libx264 -g 10 -bf 3 -qp 20 {}", input, path("b.mp4")),
      status);
  ASSERT_EQ(status, 0);
  for (const std::string& file : {input, path("b.mp4")}) {
    ThreadPool pool(1, ThreadPool::Idle::sleep);
    Clip clip(file, pool);
    clip.survey();
    ASSERT_EQ(clip.frames(), 40u);
    std::vector<Frame> whole;
    RestoredReader reader(file);
    for (Frame frame; reader.read(frame);) whole.push_back(frame);
    reader.only({{25, 29, clip.stamps()[25]}, {31, 40, clip.stamps()[31]}, {3, 5, clip.stamps()[3]}});
    for (const int times : {1, 2}) {
      Frame frame;
      for (const uint64_t i : {25, 26, 27, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 3, 4}) {
        ASSERT_TRUE(reader.read(frame)) << i << " " << times;
        EXPECT_EQ(frame.pts, whole[i].pts) << file;
        EXPECT_EQ(frame.duration, whole[i].duration) << i << file;
        EXPECT_EQ(frame.planes[0].samples, whole[i].planes[0].samples) << i << file;
      }
      EXPECT_FALSE(reader.read(frame));
      reader.rewind();
    }
  }
}

TEST_F(Farm, SameBytesWithOneAndTwoJobsInAllModes) {
  const std::string input = make_long();
  for (const Mode mode : {Mode::plain, Mode::x1, Mode::x2, Mode::automatic}) {
    const EncodeReport one = by_jobs(quick(mode), input, 1, "one.mkv");
    by_jobs(quick(mode), input, 2, "out.mkv");
    EXPECT_EQ(bytes_of(path("one.mkv")), bytes_of(path("out.mkv"))) << name(mode);
    EXPECT_NEAR(seen_psnr(input), one.result.psnr, 0.01) << name(mode);
    const FileBytes counted = count_bytes(path("out.mkv"));
    EXPECT_EQ(counted.picture(), one.result.bytes) << name(mode);
    EXPECT_EQ(Clip(path("out.mkv"), *std::make_unique<ThreadPool>(1)).info().format.width, 128u);
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      EXPECT_EQ(entry.path().string().find(".jobs"), std::string::npos) << entry.path();
    std::filesystem::remove(path("one.mkv"));
    std::filesystem::remove(path("out.mkv"));
  }
}

TEST_F(Farm, AListsJobsInAnyOrderGiveTheSame) {
  const std::string input = make_long("länge mit Lücken.mkv");
  by_jobs(quick(Mode::x2), input, 2, "one.mkv");
  const JobList list = make_list(quick(Mode::x2), input, "zwei Teile ü.mkv");
  ASSERT_EQ(list.parts.size(), 4u);
  uint64_t networks = 0;
  for (size_t p = list.parts.size(); p-- > 0;) {
    networks += work(p, 1 + p % 2).network ? 1 : 0;
    work(p);  // again: no harm
  }
  const EncodeReport report = join_parts(path("jobs"), read_job_list(path("jobs")), {});
  EXPECT_EQ(report.scene_networks, networks);
  EXPECT_EQ(bytes_of(path("one.mkv")), bytes_of(path("zwei Teile ü.mkv")));
}

TEST_F(Farm, AKilledWorkerIsBegunAgainAndAStoppedRunGoesOn) {
  const std::string input = make_long();
  by_jobs(quick(Mode::x2), input, 1, "one.mkv");
  // Killed once in the middle of part 2.
  const std::string once =
      fmt::format("if [ \"$4\" = 2 ] && mkdir {} 2>/dev/null; then kill -9 $$; fi", path("killed"));
  by_jobs(quick(Mode::x2), input, 2, "out.mkv", program_after(once));
  EXPECT_EQ(bytes_of(path("one.mkv")), bytes_of(path("out.mkv")));
  EXPECT_NE(lines_.find("part 2: its worker was ended by signal 9; begun again"), std::string::npos)
      << lines_;

  // Killed always: the run ends with a line; begun again it does what is left, and only that.
  const std::string reason = refusal_of(
      [&] { by_jobs(quick(Mode::x2), input, 1, "two.mkv", program_after("[ $4 = 2 ] && kill -9 $$")); });
  EXPECT_EQ(reason, fmt::format("part 2 of {}: its worker was ended by signal 9 3 times", input));
  EXPECT_FALSE(std::filesystem::exists(path("two.mkv")));
  EXPECT_TRUE(std::filesystem::exists(path("two.mkv.jobs")));
  by_jobs(quick(Mode::x2), input, 2, "two.mkv");
  EXPECT_EQ(lines_.find("sample"), std::string::npos) << lines_;
  EXPECT_NE(lines_.find("frames are done already"), std::string::npos) << lines_;
  EXPECT_EQ(bytes_of(path("one.mkv")), bytes_of(path("two.mkv")));
}

TEST_F(Farm, MistakesAreToldInALine) {
  const std::string input = make_long();
  EncodeOptions o = quick(Mode::x2);
  EXPECT_EQ(refusal_of([&] { by_jobs(o, input, 1, "out.mkv", "/nowhere/cairn"); }),
            fmt::format("part 0 of {}: cannot be started: No such file or directory", input));
  o.size = 10000;
  o.crf.reset();
  EXPECT_EQ(refusal_of([&] { by_jobs(o, input, 1, "out.mkv"); }),
            "--size: not done by parts: give --crf or --target-psnr");
  const JobList list = make_list(quick(Mode::x1), input, "out.mkv");
  EXPECT_EQ(refusal_of([&] { work(4); }), path("jobs") + ": no job 4: they are 0 … 3");
  work(0);
  EXPECT_EQ(refusal_of([&] { join_parts(path("jobs"), list, {}); }),
            fmt::format("{0}: job 1 of 0 … 3 is not done: cairn video work {0} 1", path("jobs")));
  EXPECT_FALSE(std::filesystem::exists(path("out.mkv")));
  // A result that was cut short is none.
  ASSERT_TRUE(read_part(path("jobs"), list, 0));
  std::filesystem::resize_file(part_path(path("jobs"), 0) + ".mkv", 500);
  EXPECT_FALSE(read_part(path("jobs"), list, 0));
  std::ofstream(input, std::ios::app) << "more";
  EXPECT_EQ(refusal_of([&] { work(1); }),
            fmt::format("{}: not the video any more that {} was made of", input, path("jobs")));
  std::ofstream(path("jobs")) << "{\"kind\": 3}";
  EXPECT_EQ(refusal_of([&] { work(1); }), path("jobs") + ": not a list of `cairn video` jobs");
  EXPECT_EQ(refusal_of([&] { read_job_list(path("none")); }), path("none") + ": no such list of jobs");
}

}  // namespace
}  // namespace cairn::video
