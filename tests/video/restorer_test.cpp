// Small frames in, restored ones out, through the C interface: what decode() makes of the same file.
#include <cairn/cairn.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "encode_fixture.hpp"
#include "video/attachment.hpp"
#include "video/random_network.hpp"
#include "video/restored_reader.hpp"

namespace cairn::video {
namespace {

using testing::HasSubstr;

// Samples in a program's memory, rows with a gap behind them.
struct Picture {
  Picture(const Format& format, size_t gap) {
    const size_t sample = format.bits == 8 ? 1 : 2;
    image.size = sizeof image;
    image.width = format.width;
    image.height = format.height;
    for (size_t p = 0; p < format.planes(); ++p) {
      image.strides[p] = format.plane_width(p) * sample + gap;
      memory[p].assign(image.strides[p] * format.plane_height(p) - gap, 0xee);
      image.planes[p] = memory[p].data();
      image.bytes[p] = memory[p].size();
    }
  }
  Picture(const Frame& frame, size_t gap) : Picture(frame.format, gap) {
    for (size_t p = 0; p < frame.format.planes(); ++p) {
      for (uint32_t y = 0; y < frame.planes[p].height; ++y) {
        for (uint32_t x = 0; x < frame.planes[p].width; ++x) {
          const uint16_t s = frame.planes[p].row(y)[x];
          unsigned char* to = memory[p].data() + y * image.strides[p];
          if (frame.format.bits == 8) {
            to[x] = static_cast<unsigned char>(s);
          } else {
            std::memcpy(to + 2ul * x, &s, 2);
          }
        }
      }
    }
  }
  // Whether it is the frame, and its gaps are as they were.
  void expect(const Frame& frame, size_t gap) const {
    const Picture wanted(frame, gap);
    for (size_t p = 0; p < frame.format.planes(); ++p)
      EXPECT_EQ(memory[p], wanted.memory[p]) << "plane " << p;
  }
  std::array<std::vector<unsigned char>, 3> memory;
  cairn_image image{};
};

#define EXPECT_TOLD(status, part, call)                       \
  do {                                                        \
    cairn_error error{};                                      \
    EXPECT_EQ((call), status) << error.message;               \
    EXPECT_THAT(std::string(error.message), HasSubstr(part)); \
  } while (false)

class RestorerHandle : public Encode {
 protected:
  RestorerHandle() { setenv("CAIRN_LIB", std::filesystem::path(CAIRN_PROGRAM).parent_path().c_str(), 1); }
  ~RestorerHandle() override { cairn_restorer_close(restorer_); }

  // Every frame of out.mkv against decode's, small ones read by libav.
  void expect_all(size_t gap) {
    RestoredReader reader(path("out.mkv"));
    Reader small_reader(path("out.mkv"));
    std::vector<Frame> smalls, wanted;
    for (Frame frame; small_reader.read(frame);) smalls.push_back(frame);
    for (Frame frame; reader.read(frame);) wanted.push_back(frame);
    ASSERT_FALSE(wanted.empty());
    cairn_error error{};
    for (size_t i = 0; i < wanted.size(); ++i) {
      SCOPED_TRACE(i);
      std::vector<Picture> around;
      for (const size_t j : {i, i == 0 ? i : i - 1, std::min(i + 1, smalls.size() - 1)})
        around.emplace_back(smalls[j], gap);
      Picture out(wanted[i].format, gap);
      ASSERT_EQ(
          cairn_restorer_restore(restorer_, i, i > 0 ? &around[1].image : nullptr, &around[0].image,
                                 i + 1 < smalls.size() ? &around[2].image : nullptr, &out.image, &error),
          CAIRN_OK)
          << error.message;
      out.expect(wanted[i], gap);
    }
  }
  std::vector<std::byte> attachment() {
    return write_attachment(*read_cairn_file(path("out.mkv")).restoration);
  }
  cairn_restorer_info info() {
    cairn_restorer_info told{};
    told.size = sizeof told;
    EXPECT_TOLD(CAIRN_OK, "", cairn_restorer_get_info(restorer_, &told, &error));
    return told;
  }
  cairn_restorer* restorer_ = nullptr;
};

TEST_F(RestorerHandle, GivesTheBytesThatDecodeWrites) {
  run(options(Mode::x2), make_clip({111, 79, 8, Chroma::c420}));
  EXPECT_TOLD(CAIRN_OK, "", cairn_restorer_open(path("out.mkv").c_str(), nullptr, &restorer_, &error));
  const cairn_restorer_info told = info();
  EXPECT_EQ(told.small_width, 56u);
  EXPECT_EQ(told.small_height, 40u);
  EXPECT_EQ(told.width, 111u);
  EXPECT_EQ(told.height, 79u);
  EXPECT_EQ(told.scale, 2u);
  EXPECT_EQ(told.bits, 8u);
  EXPECT_EQ(told.chroma, CAIRN_CHROMA_420);
  EXPECT_EQ(told.networks, 1u);
  EXPECT_EQ(told.needs_before, 0);
  expect_all(0);
  expect_all(13);
}

TEST_F(RestorerHandle, TakesTenBitsAndNeighbours) {
  EncodeOptions o = options(Mode::x1);
  o.codec = Codec::x265;
  o.network = parse_architecture("C4M1T3");
  run(o, make_clip({112, 80, 10, Chroma::c444}));
  EXPECT_TOLD(CAIRN_OK, "", cairn_restorer_open(path("out.mkv").c_str(), nullptr, &restorer_, &error));
  EXPECT_EQ(info().bits, 10u);
  EXPECT_EQ(info().chroma, CAIRN_CHROMA_444);
  EXPECT_EQ(info().needs_before, 1);
  EXPECT_EQ(info().needs_after, 1);
  expect_all(6);
}

TEST_F(RestorerHandle, OpensTheAttachmentAlone) {
  EncodeOptions o = options(Mode::x2);
  o.chunks = 3;
  run(o, make_clip());
  cairn_restorer_options with;
  cairn_restorer_options_init(&with, sizeof with);
  const std::vector<std::byte> bytes = attachment();
  EXPECT_TOLD(CAIRN_INVALID_ARGUMENT, "bits: 0 is not 8 or 10, and the attachment does not say",
              cairn_restorer_open_bytes(bytes.data(), bytes.size(), nullptr, &restorer_, &error));
  with.bits = 8;
  EXPECT_TOLD(CAIRN_INVALID_ARGUMENT, "chroma: -1 is none of CAIRN_CHROMA_…, and the attachment does not say",
              cairn_restorer_open_bytes(bytes.data(), bytes.size(), &with, &restorer_, &error));
  with.chroma = CAIRN_CHROMA_420;
  with.threads = 3;
  EXPECT_TOLD(CAIRN_OK, "", cairn_restorer_open_bytes(bytes.data(), bytes.size(), &with, &restorer_, &error));
  EXPECT_EQ(info().networks, 3u);
  expect_all(0);

  const Restoration r = read_attachment(bytes, "test");
  for (uint64_t frame = 0; frame < r.labels->frames.size() + 1; ++frame) {
    for (uint32_t y = 0; y < 40; y += 13) {
      for (uint32_t x = 0; x < 56; x += 11) {
        uint32_t network = 77;
        EXPECT_TOLD(CAIRN_OK, "", cairn_restorer_network_at(restorer_, frame, x, y, &network, &error));
        const uint32_t patch = y / r.labels->patch_height * r.labels->columns + x / r.labels->patch_width;
        EXPECT_EQ(network, frame < r.labels->frames.size() ? r.labels->frames[frame][patch] : 0);
      }
    }
  }
  uint32_t network = 0;
  EXPECT_TOLD(CAIRN_INVALID_ARGUMENT, "(56, 0) is not in 56×40",
              cairn_restorer_network_at(restorer_, 0, 56, 0, &network, &error));
}

// An attachment of one small network, for 20×12 frames of 10 bits.
class BadImages : public RestorerHandle {
 protected:
  BadImages() {
    Restoration r;
    r.small_width = 20;
    r.small_height = 12;
    r.width = 39;
    r.height = 24;
    r.scale = 2;
    r.architectures.push_back(parse_architecture("C4M0"));
    r.networks.push_back(random_network("C4M0", 2, 5, 1));
    bytes_ = write_attachment(r);
    cairn_restorer_options_init(&with_, sizeof with_);
    with_.bits = 10;
    with_.chroma = CAIRN_CHROMA_420;
    EXPECT_TOLD(CAIRN_OK, "",
                cairn_restorer_open_bytes(bytes_.data(), bytes_.size(), &with_, &restorer_, &error));
  }
  cairn_status restore(const cairn_image* small, const cairn_image* out, cairn_error& error) {
    return cairn_restorer_restore(restorer_, 0, nullptr, small, nullptr, out, &error);
  }
  std::vector<std::byte> bytes_;
  cairn_restorer_options with_;
  Picture small_{random_frame({20, 12, 10, Chroma::c420}, 1), 0}, out_{Format{39, 24, 10, Chroma::c420}, 0};
};

TEST_F(BadImages, AreRefusedByName) {
  EXPECT_TOLD(CAIRN_OK, "", restore(&small_.image, &out_.image, error));
  EXPECT_TOLD(CAIRN_INVALID_ARGUMENT, "small is NULL", restore(nullptr, &out_.image, error));
  EXPECT_TOLD(CAIRN_INVALID_ARGUMENT, "restored is NULL", restore(&small_.image, nullptr, error));
  const auto with = [&](auto change) {
    cairn_image image = small_.image;
    change(image);
    return image;
  };
  const auto refused = [&](const std::string& line, auto change) {
    const cairn_image image = with(change);
    EXPECT_TOLD(CAIRN_INVALID_ARGUMENT, line, restore(&image, &out_.image, error));
  };
  refused("small: 21×12, it must be 20×12", [](cairn_image& i) { i.width = 21; });
  refused("small: 20×0, it must be 20×12", [](cairn_image& i) { i.height = 0; });
  refused("small: plane 1 is NULL", [](cairn_image& i) { i.planes[1] = nullptr; });
  refused("small: plane 0 has a stride of 39 bytes, and rows of 40",
          [](cairn_image& i) { i.strides[0] = 39; });
  refused("small: plane 2 has a stride of 0 bytes, and rows of 20", [](cairn_image& i) { i.strides[2] = 0; });
  refused("small: plane 0 has 479 bytes, not 12 rows of a stride of 40",
          [](cairn_image& i) { i.bytes[0] = 479; });
  refused("small: plane 1 has 0 bytes, not 6 rows", [](cairn_image& i) { i.bytes[1] = 0; });
  refused("small: plane 0 has 480 bytes, not 12 rows", [](cairn_image& i) { i.strides[0] = SIZE_MAX; });
  refused("not initialised", [](cairn_image& i) { i.size = 0; });
  cairn_image narrow = out_.image;
  narrow.bytes[0] -= 1;
  EXPECT_TOLD(CAIRN_INVALID_ARGUMENT, "restored: plane 0 has 1871 bytes",
              restore(&small_.image, &narrow, error));
  EXPECT_TOLD(CAIRN_INVALID_ARGUMENT, "restored: 20×12, it must be 39×24",
              restore(&small_.image, &small_.image, error));
}

TEST_F(BadImages, SamplesBeyondTheirBitsAreTheLargest) {
  Picture loud = small_;
  loud.image = small_.image;
  for (size_t p = 0; p < 3; ++p) {
    loud.memory[p].assign(loud.memory[p].size(), 0xff);
    loud.image.planes[p] = loud.memory[p].data();
  }
  Frame white;
  white.allocate({20, 12, 10, Chroma::c420});
  for (Plane& plane : white.planes) std::fill(plane.samples.begin(), plane.samples.end(), uint16_t{1023});
  const Picture peak(white, 0);
  Picture a(Format{39, 24, 10, Chroma::c420}, 0), b(Format{39, 24, 10, Chroma::c420}, 0);
  EXPECT_TOLD(CAIRN_OK, "", restore(&loud.image, &a.image, error));
  EXPECT_TOLD(CAIRN_OK, "", restore(&peak.image, &b.image, error));
  EXPECT_EQ(a.memory, b.memory);
}

TEST_F(BadImages, MayLieWhereTheRestoredOneDoes) {
  Picture both(Format{39, 24, 10, Chroma::c420}, 0);
  cairn_image small = small_.image;
  for (size_t p = 0; p < 3; ++p) {
    std::copy(small_.memory[p].begin(), small_.memory[p].end(), both.memory[p].begin());
    small.planes[p] = both.memory[p].data();
  }
  EXPECT_TOLD(CAIRN_OK, "", restore(&small_.image, &out_.image, error));
  EXPECT_TOLD(CAIRN_OK, "", restore(&small, &both.image, error));
  EXPECT_EQ(both.memory, out_.memory);
}

TEST_F(BadImages, BrokenAttachmentsAreRefused) {
  cairn_restorer* none = nullptr;
  EXPECT_TOLD(CAIRN_INVALID_ARGUMENT, "bytes is NULL",
              cairn_restorer_open_bytes(nullptr, 9, &with_, &none, &error));
  EXPECT_TOLD(CAIRN_INVALID_ARGUMENT, "opened is NULL",
              cairn_restorer_open_bytes(bytes_.data(), bytes_.size(), &with_, nullptr, &error));
  for (size_t size = 0; size < bytes_.size(); ++size) {
    const std::vector<std::byte> cut(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(size));
    const std::byte nothing{};
    EXPECT_TOLD(CAIRN_FORMAT, "the attachment",
                cairn_restorer_open_bytes(cut.empty() ? &nothing : cut.data(), size, &with_, &none, &error));
  }
  for (size_t at = 0; at < bytes_.size(); at += 3) {
    std::vector<std::byte> wrong = bytes_;
    wrong[at] ^= std::byte{0x40};
    cairn_error error{};
    EXPECT_NE(cairn_restorer_open_bytes(wrong.data(), wrong.size(), &with_, &none, &error), CAIRN_OK) << at;
    EXPECT_EQ(none, nullptr);
  }
  with_.bits = 12;
  EXPECT_TOLD(CAIRN_INVALID_ARGUMENT, "bits: 12 is not 8 or 10",
              cairn_restorer_open_bytes(bytes_.data(), bytes_.size(), &with_, &none, &error));
  with_.bits = 8;
  with_.chroma = 4;
  EXPECT_TOLD(CAIRN_INVALID_ARGUMENT, "chroma: 4 is none",
              cairn_restorer_open_bytes(bytes_.data(), bytes_.size(), &with_, &none, &error));
  EXPECT_TOLD(CAIRN_NOT_FOUND, "none.mkv",
              cairn_restorer_open(path("none.mkv").c_str(), nullptr, &none, &error));
  const std::string plain = make_clip();
  EXPECT_TOLD(CAIRN_INVALID_ARGUMENT, "it has no networks",
              cairn_restorer_open(plain.c_str(), nullptr, &none, &error));
}

TEST_F(BadImages, ClosedAndBusyOnesAreTold) {
  // Calls from four threads: each gets its picture, or is told that another one has its turn.
  std::vector<std::thread> threads;
  std::array<int, 4> done{};
  EXPECT_TOLD(CAIRN_OK, "", restore(&small_.image, &out_.image, error));
  for (int& count : done) {
    threads.emplace_back([&] {
      Picture mine(Format{39, 24, 10, Chroma::c420}, 0);
      for (int i = 0; i < 50; ++i) {
        cairn_error error{};
        const cairn_status status = restore(&small_.image, &mine.image, error);
        EXPECT_TRUE(status == CAIRN_OK || status == CAIRN_BUSY) << error.message;
        if (status != CAIRN_OK) continue;
        ++count;
        EXPECT_EQ(mine.memory, out_.memory);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(done[0] + done[1] + done[2] + done[3], 0);
  cairn_restorer_close(restorer_);
  EXPECT_TOLD(CAIRN_INVALID_ARGUMENT, "the restorer is closed, or was never one",
              restore(&small_.image, &out_.image, error));
}

}  // namespace
}  // namespace cairn::video
