// What mpv shows with an exported shader is what decode() writes. Both are played by the same mpv, on a
// virtual screen with OpenGL in software, so that what mpv does to all pictures is in both.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/temporary_folder.hpp"
#include "video/container.hpp"
#include "video/decode.hpp"
#include "video/export/shader.hpp"
#include "video/lossless.hpp"
#include "video/metrics.hpp"
#include "video/random_network.hpp"
#include "video/reader.hpp"
#include "video/track.hpp"

namespace cairn::video {
namespace {

// Xvfb, until the end.
class VirtualScreen {
 public:
  VirtualScreen() {
    int ends[2];
    if (pipe(ends) != 0) return;
    const std::string write_end = fmt::format("{}", ends[1]);
    process_ = fork();
    if (process_ == 0) {
      close(ends[0]);
      const int null = open("/dev/null", O_RDWR);
      dup2(null, 2);
      execlp("Xvfb", "Xvfb", "-displayfd", write_end.c_str(), "-screen", "0", "800x600x24", "-nolisten",
             "tcp", static_cast<char*>(nullptr));
      _exit(127);
    }
    close(ends[1]);
    std::string number;
    for (char c; read(ends[0], &c, 1) == 1 && c != '\n';) number += c;
    close(ends[0]);
    if (!number.empty()) display_ = ":" + number;
  }
  ~VirtualScreen() {
    if (process_ <= 0) return;
    kill(process_, SIGTERM);
    waitpid(process_, nullptr, 0);
  }
  VirtualScreen(const VirtualScreen&) = delete;
  VirtualScreen& operator=(const VirtualScreen&) = delete;
  const std::string& display() const { return display_; }

 private:
  pid_t process_ = -1;
  std::string display_;
};

struct Case {
  const char* name;
  const char* output;    // mpv's --vo
  const char* networks;  // one or, labelled, two
  uint32_t scale, width, height, bits;
  bool chroma_network = false;
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
};

bool runs(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

// Where there is an mpv with a screen that it draws to.
std::vector<Case> cases() {
  if (!runs("command -v Xvfb") || !runs("mpv --version")) return {};
  std::vector<Case> all = {
      {"X2", "gpu", "C8M1", 2, 120, 88, 8},
      {"X2Odd", "gpu", "C8M1", 2, 119, 87, 8},
      {"X1TenBits", "gpu", "C6M1", 1, 120, 88, 10},
      {"X3Labelled", "gpu", "C4M0 C4M1", 3, 120, 90, 8},
      {"X2ChromasNetwork", "gpu", "C4M1", 2, 120, 88, 8, true},
  };
  if (runs("mpv --vo=help | grep gpu-next")) {
    all.push_back({"X2Next", "gpu-next", "C8M1", 2, 120, 88, 8});
    all.push_back({"X2OddNext", "gpu-next", "C8M1", 2, 119, 87, 8});
    all.push_back({"X2TenBitsNext", "gpu-next", "C8M1", 2, 120, 88, 10});
  }
  return all;
}

class Mpv : public ::testing::TestWithParam<Case> {
 protected:
  std::string path(const std::string& name) const { return folder_ / name; }

  // The lossless small video of two frames with the case's networks.
  void make_clip(const Case& c) {
    restoration_.scale = c.scale;
    restoration_.width = c.width;
    restoration_.height = c.height;
    VideoInfo info;
    info.format = {(c.width + c.scale - 1) / c.scale, (c.height + c.scale - 1) / c.scale, c.bits,
                   Chroma::c420};
    info.format.width += info.format.width % 2;
    info.format.height += info.format.height % 2;
    info.colour = {1, 1, 1, 1, 1};
    info.time_base = {1, 1000};
    info.frame_rate = {25, 1};
    LosslessFile file(path("small.mkv"), info);
    for (uint32_t i = 0; i < 2; ++i) {
      Frame frame = random_frame(info.format, i);
      // Within limited range, and colours that RGB has.
      for (size_t p = 0; p < 3; ++p) {
        for (uint16_t& s : frame.planes[p].samples)
          s = static_cast<uint16_t>(p == 0 ? info.format.peak() / 4 + s / 2
                                           : info.format.peak() / 2 - info.format.peak() / 16 + s / 8);
      }
      frame.pts = 40 * i;
      frame.duration = 40;
      file.write(frame);
    }
    file.finish();
    restoration_.small_width = info.format.width;
    restoration_.small_height = info.format.height;
    const std::string networks = c.networks;
    for (size_t at = 0; at != std::string::npos;) {
      const size_t end = networks.find(' ', at);
      add(networks.substr(at, end - at), c.scale);
      at = end == std::string::npos ? end : end + 1;
    }
    if (c.chroma_network) {
      restoration_.architectures.push_back(parse_architecture("C4M0"));
      restoration_.chroma = random_network("C4M0", c.scale, 5, 9);
      restoration_.chroma->plane = Network::Plane::chroma;
    }
    if (restoration_.networks.size() > 1) {  // patches of 16×16
      Labels labels{16, 16, (info.format.width + 15) / 16, (info.format.height + 15) / 16, {}};
      std::vector<uint8_t> map;
      for (uint32_t i = 0; i < labels.columns * labels.rows; ++i)
        map.push_back(static_cast<uint8_t>(i % 3 % 2));
      labels.frames.assign(2, map);
      restoration_.labels = labels;
    }
    const std::vector<std::byte> attachment = write_attachment(restoration_);
    restoration_ = read_attachment(attachment, "test");
    write_matroska(path("clip.mkv"), read_track(path("small.mkv")), attachment);
    const Still still = stand_still(restoration_, {}, 2);
    cairn::testing::write_file(path("clip.glsl"), write_shader(restoration_, still, info.format, 1));
  }
  void add(const std::string& name, uint32_t scale) {
    restoration_.architectures.push_back(parse_architecture(name));
    restoration_.networks.push_back(
        random_network(name, scale, 5, static_cast<uint32_t>(restoration_.networks.size())));
  }

  // The first frame as mpv shows it, in a window of its size.
  Frame shown(const std::string& file, const std::string& options, bool grey) {
    cairn::testing::write_file(
        path("shot.lua"),
        "mp.add_periodic_timer(0.05, function()\n"
        "  if mp.commandv('screenshot-to-file', os.getenv('CAIRN_SHOT'), 'window') then\n"
        "    mp.command('quit')\n  end\nend)\n");
    const Case& c = GetParam();
    const std::string command = fmt::format(
        "DISPLAY={} LIBGL_ALWAYS_SOFTWARE=1 CAIRN_SHOT={} timeout 100 mpv --no-config --no-audio --no-osc "
        "--osd-level=0 --no-border "
        "--no-keepaspect --geometry={}x{}+0+0 --dither-depth=no --gpu-api=opengl --gpu-sw --hwdec=no --pause "
        "--screenshot-png-compression=1 --vo={} {} {} --script={} {} >{} 2>&1",
        screen_.display(), path("shot.png"), c.width, c.height, c.output, grey ? "--saturation=-100" : "",
        options, path("shot.lua"), path(file), path("log"));
    std::filesystem::remove(path("shot.png"));
    EXPECT_EQ(std::system(command.c_str()), 0) << command << "\n" << errors();
    Reader reader(path("shot.png"));
    Frame frame;
    EXPECT_TRUE(reader.read(frame)) << errors();
    EXPECT_EQ(frame.format.width, c.width);
    EXPECT_EQ(frame.format.height, c.height);
    return frame;
  }

  // Lines of mpv's log but those of the shader's text.
  std::string errors() const {
    std::istringstream log(cairn::testing::read_file(path("log")));
    std::string line, told;
    while (std::getline(log, line)) {
      if (line.find("] [") == std::string::npos) told += line + "\n";
    }
    return told;
  }

  cairn::testing::TemporaryFolder folder_;
  VirtualScreen screen_;
  Restoration restoration_;
};

// The mean squared difference, in steps of 8 bits: pictures of gpu-next have 16 bits a sample.
double difference(const Frame& a, const Frame& b, size_t plane) {
  EXPECT_EQ(a.format.bits, b.format.bits);
  const Plane& x = a.planes[plane];
  const double step = (a.format.peak() + 1) / 256.0;
  return squared_error(x, b.planes[plane]) / static_cast<double>(x.samples.size()) / (step * step);
}

TEST_P(Mpv, ShowsWhatIsDecoded) {
  ASSERT_NE(screen_.display(), "") << "Xvfb did not start";
  make_clip(GetParam());
  decode(path("clip.mkv"), path("decoded.mkv"));
  for (const bool grey : {true, false}) {
    SCOPED_TRACE(grey ? "luma" : "colour");
    const Frame wanted = shown("decoded.mkv", "", grey),
                got = shown("clip.mkv", "--glsl-shader=" + path("clip.glsl"), grey);
    // The pictures that mpv makes of whole samples, and of samples that are not rounded, differ by the
    // rounding.
    EXPECT_LT(difference(wanted, got, 0), 0.5);
    const bool odd = GetParam().width % 2 == 1;
    if (!grey) EXPECT_LT(difference(wanted, got, 1) + difference(wanted, got, 2), odd ? 4.0 : 1.0);
    if (!grey) continue;
    const Frame small = shown("clip.mkv", "", grey);
    EXPECT_GT(difference(wanted, small, 0), 10);  // there was something to restore
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Mpv);
INSTANTIATE_TEST_SUITE_P(Shows, Mpv, ::testing::ValuesIn(cases()),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace cairn::video
