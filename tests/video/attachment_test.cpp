// Networks, labels and segments as bytes: they come back as they were, and nonsense is refused in one line.
#include "video/attachment.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <cmath>
#include <cstring>
#include <random>

#include "base/error.hpp"
#include "video/quantise.hpp"

namespace cairn::video {
namespace {

using testing::HasSubstr;

// Weights of a bell's shape, on the grids that quantised networks use.
Network random_network(const Architecture& architecture, uint32_t scale, uint32_t bits, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> bell(0.0f, 0.3f);
  Network network = make_network(architecture, scale);
  network.weight_bits = bits;
  const auto fill = [&](std::vector<float>& weights, std::vector<int8_t>& codes, std::vector<float>& scales,
                        size_t outs, int limit) {
    codes.resize(weights.size());
    for (size_t o = 0; o < outs; ++o)
      scales.push_back(scale_value(static_cast<int8_t>(-60 + static_cast<int>(random() % 16))));
    for (size_t i = 0; i < weights.size(); ++i) {
      const float code = std::nearbyint(bell(random) * static_cast<float>(limit));
      codes[i] = static_cast<int8_t>(std::clamp(code, static_cast<float>(-limit), static_cast<float>(limit)));
      weights[i] = static_cast<float>(codes[i]) * scales[i / (weights.size() / outs)];
    }
  };
  for (Layer& layer : network.layers) {
    fill(layer.weights, layer.codes, layer.scales, layer.out, (1 << (bits - 1)) - 1);
    for (float& bias : layer.bias) bias = static_cast<float>(static_cast<int>(random() % 200) - 100) / 1024;
    if (layer.relu) layer.activation_max = scale_value(static_cast<int8_t>(random() % 16));
  }
  fill(network.skip, network.skip_codes, network.skip_scales, static_cast<size_t>(scale) * scale, 20);
  return network;
}

void expect_equal(const Network& a, const Network& b) {
  EXPECT_EQ(a.plane, b.plane);
  EXPECT_EQ(a.scale, b.scale);
  EXPECT_EQ(a.frames, b.frames);
  EXPECT_EQ(a.weight_bits, b.weight_bits);
  EXPECT_EQ(a.skip, b.skip);
  ASSERT_EQ(a.layers.size(), b.layers.size());
  for (size_t i = 0; i < a.layers.size(); ++i) {
    EXPECT_EQ(a.layers[i].weights, b.layers[i].weights) << i;
    EXPECT_EQ(a.layers[i].codes, b.layers[i].codes) << i;
    EXPECT_EQ(a.layers[i].bias, b.layers[i].bias) << i;
    EXPECT_EQ(a.layers[i].activation_max, b.layers[i].activation_max) << i;
    EXPECT_EQ(a.layers[i].relu, b.layers[i].relu) << i;
  }
}

Restoration random_restoration(uint32_t networks) {
  Restoration r;
  r.width = 319;
  r.height = 177;
  r.small_width = 160;
  r.small_height = 90;
  r.scale = 2;
  for (uint32_t i = 0; i < networks; ++i) {
    r.architectures.push_back(parse_architecture(i == 0 ? "C8M4T3" : "C4M1"));
    r.networks.push_back(random_network(r.architectures.back(), 2, 5, i + 1));
  }
  return r;
}

Labels random_labels(uint32_t networks, double change) {
  std::mt19937 random(9);
  Labels labels{48, 54, 4, 2, {}};
  for (int f = 0; f < 40; ++f) {
    std::vector<uint8_t> frame(8);
    for (size_t p = 0; p < 8; ++p) {
      const bool anew = f == 0 || static_cast<double>(random() % 1000) < change * 1000;
      frame[p] = anew ? static_cast<uint8_t>(random() % networks) : labels.frames.back()[p];
    }
    labels.frames.push_back(frame);
  }
  return labels;
}

std::string refusal(std::span<const std::byte> bytes) {
  try {
    read_attachment(bytes, "a.mkv");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// With the checksum put right, so that what lies behind it is reached.
std::string refusal_of_changed(std::vector<std::byte> bytes, size_t at, uint8_t value) {
  bytes[at] = static_cast<std::byte>(value);
  const uint32_t sum = XXH32(bytes.data(), bytes.size() - 4, 0);
  std::memcpy(bytes.data() + bytes.size() - 4, &sum, 4);
  return refusal(bytes);
}

TEST(Attachment, QuantisedNetworksComeBackBitForBit) {
  for (const char* name : {"C8M4", "C16M4T2", "C1M0", "linear", "ESPCN", "EDSR:2", "WDSR:1", "SRCNN"}) {
    for (const uint32_t bits : {4u, 5u, 8u}) {
      const Architecture architecture = parse_architecture(name);
      const Network network = random_network(architecture, 2, bits, bits);
      ASSERT_NO_THROW(validate(network, name));
      const std::vector<std::byte> bytes = encode_network(network, architecture);
      Architecture told;
      const Network back = decode_network(bytes, 2, name, &told);
      EXPECT_EQ(told.name(), architecture.name());
      expect_equal(network, back);
    }
  }
}

// The largest bias being all of its grid, in each layer another grid.
TEST(Attachment, BiasesUseTheirWholeGrid) {
  const Architecture architecture = parse_architecture("C8M4");
  Network network = random_network(architecture, 2, 5, 1);
  for (size_t i = 0; i < network.layers.size(); ++i) {
    for (float& bias : network.layers[i].bias) bias = std::ldexp(5.0f, -static_cast<int>(7 + 2 * i));
    network.layers[i].bias[0] = std::ldexp(127.0f, -static_cast<int>(7 + 2 * i));
  }
  expect_equal(network, decode_network(encode_network(network, architecture), 2, "biases"));
}

TEST(Attachment, FloatNetworksComeBackBitForBit) {
  const Architecture architecture = parse_architecture("C4M2");
  Network network = make_network(architecture, 3);
  float value = 0.1f;
  for (Layer& layer : network.layers) {
    for (float& weight : layer.weights) weight = value = std::fmod(value * 1.7f + 0.3f, 1.0f);
  }
  expect_equal(network, decode_network(encode_network(network, architecture), 3, "float"));
}

// Within a few per cent of the entropy of the codes, the tables' own cost included.
TEST(Attachment, WeightsTakeAboutTheirEntropy) {
  const Architecture architecture = parse_architecture("C16M4");
  const Network network = random_network(architecture, 2, 5, 3);
  double bits = 0;
  size_t others = 0;
  for (const Layer& layer : network.layers) {
    std::array<double, 256> counts{};
    for (const int8_t code : layer.codes) counts[static_cast<size_t>(code + 128)] += 1;
    for (const double count : counts) {
      if (count > 0) bits -= count * std::log2(count / static_cast<double>(layer.codes.size()));
    }
    others += 2 * layer.out + 3;
  }
  others += network.skip.size() + 16;
  const size_t bytes = encode_network(network, architecture).size();
  EXPECT_LT(static_cast<double>(bytes), 1.04 * bits / 8 + static_cast<double>(others));
  EXPECT_GT(static_cast<double>(bytes), 0.98 * bits / 8);
}

TEST(Attachment, LabelsComeBackAndCostWhatChanges) {
  const Labels still = random_labels(4, 0.0), moving = random_labels(4, 0.5);
  for (const Labels& labels : {still, moving}) {
    const Labels back = decode_labels(encode_labels(labels, 4), 160, 90, 4, "labels");
    EXPECT_EQ(back.frames, labels.frames);
    EXPECT_EQ(back.columns, 4u);
    EXPECT_EQ(back.rows, 2u);
  }
  EXPECT_LT(encode_labels(still, 4).size(), 20u);  // 320 labels
  EXPECT_LT(encode_labels(still, 4).size(), encode_labels(moving, 4).size());
}

TEST(Attachment, WholeRestorationsComeBack) {
  Restoration r = random_restoration(3);
  r.labels = random_labels(3, 0.1);
  r.architectures.push_back(parse_architecture("C4M2"));
  r.chroma = random_network(r.architectures.back(), 2, 6, 7);
  r.chroma->plane = Network::Plane::chroma;
  AttachmentSizes sizes, read_sizes;
  const std::vector<std::byte> bytes = write_attachment(r, &sizes);
  const Restoration back = read_attachment(bytes, "a.mkv", &read_sizes);
  EXPECT_EQ(back.width, 319u);
  EXPECT_EQ(back.small_height, 90u);
  ASSERT_EQ(back.networks.size(), 3u);
  for (size_t i = 0; i < 3; ++i) expect_equal(r.networks[i], back.networks[i]);
  ASSERT_TRUE(back.chroma);
  expect_equal(*r.chroma, *back.chroma);
  EXPECT_EQ(back.labels->frames, r.labels->frames);
  EXPECT_EQ(sizes.networks + sizes.labels + sizes.header, bytes.size());
  EXPECT_EQ(sizes.networks, read_sizes.networks);
  EXPECT_EQ(sizes.each, read_sizes.each);
  EXPECT_EQ(network_of(back, 5, 3), r.labels->frames[5][3]);
  EXPECT_EQ(network_of(back, 1000, 3), 0u);
}

TEST(Attachment, SegmentsNameNetworksByFrame) {
  Restoration r = random_restoration(2);
  r.segments = {{0, 1}, {10, 0}, {25, 1}};
  const Restoration back = read_attachment(write_attachment(r), "a.mkv");
  EXPECT_EQ(network_of(back, 9), 1u);
  EXPECT_EQ(network_of(back, 10), 0u);
  EXPECT_EQ(network_of(back, 24), 0u);
  EXPECT_EQ(network_of(back, 1u << 20), 1u);
}

// `base` with some codes and biases moved by a step.
Network neighbour_of(Network network, uint32_t seed) {
  std::mt19937 random(seed);
  const auto move = [&](std::vector<int8_t>& codes, const std::vector<float>& scales,
                        std::vector<float>& weights) {
    for (size_t i = 0; i < codes.size(); ++i) {
      if (random() % 12 != 0 || std::abs(codes[i]) > 6) continue;
      codes[i] = static_cast<int8_t>(codes[i] + (random() % 2 == 0 ? 1 : -1));
      weights[i] = static_cast<float>(codes[i]) * scales[i / (codes.size() / scales.size())];
    }
  };
  for (Layer& layer : network.layers) {
    move(layer.codes, layer.scales, layer.weights);
    layer.bias[0] += 3.0f / 1024;
  }
  if (!network.layers.empty() && network.layers[0].relu) network.layers[0].activation_max = scale_value(20);
  move(network.skip_codes, network.skip_scales, network.skip);
  return network;
}

TEST(Attachment, DeltasComeBackBitForBitAndAreSmall) {
  for (const char* name : {"C8M4", "C16M4T2", "C1M0", "linear", "EDSR:2", "SRCNN"}) {
    for (const uint32_t bits : {4u, 5u, 8u}) {
      const Architecture architecture = parse_architecture(name);
      const Network base = random_network(architecture, 2, bits, bits), network = neighbour_of(base, 3);
      ASSERT_TRUE(can_differ(base, network));
      const std::vector<std::byte> bytes = encode_delta(network, base, 1);
      uint32_t number = 0;
      const Network back = decode_delta(bytes, {make_network(architecture, 2), base}, name, &number);
      expect_equal(network, back);
      EXPECT_EQ(number, 1u);
      EXPECT_LT(bytes.size(), encode_network(network, architecture).size() * 2 / 3) << name << " " << bits;
    }
  }
  // Of another scale's grids, whatever the network.
  const Architecture architecture = parse_architecture("C8M4");
  const Network base = random_network(architecture, 2, 5, 1), other = random_network(architecture, 2, 5, 2);
  expect_equal(other, decode_delta(encode_delta(other, base, 0), {base}, "other"));
  EXPECT_FALSE(can_differ(base, random_network(architecture, 2, 6, 1)));
  EXPECT_FALSE(can_differ(base, random_network(parse_architecture("C8M3"), 2, 5, 1)));
}

TEST(Attachment, DeltasMakeVersionTwo) {
  Restoration r = random_restoration(2);
  EXPECT_EQ(write_attachment(r)[4], std::byte{1});
  r.networks.push_back(neighbour_of(r.networks[1], 1));
  r.architectures.push_back(r.architectures[1]);
  r.bases = {-1, -1, 1};
  r.segments = {{0, 2}, {7, 1}};
  AttachmentSizes sizes;
  const std::vector<std::byte> bytes = write_attachment(r, &sizes);
  EXPECT_EQ(bytes[4], std::byte{2});
  const Restoration back = read_attachment(bytes, "a.mkv");
  ASSERT_EQ(back.networks.size(), 3u);
  expect_equal(r.networks[2], back.networks[2]);
  EXPECT_EQ(back.bases, r.bases);
  EXPECT_EQ(back.architectures[2].name(), "C4M1");
  EXPECT_EQ(write_attachment(back), bytes);
  const size_t delta = 13 + sizes.each[0] + sizes.each[1];  // its section
  EXPECT_THAT(refusal_of_changed(bytes, 4, 1), HasSubstr("a delta in a file of version 1"));
  EXPECT_THAT(refusal_of_changed(bytes, delta + 2, 2),
              HasSubstr("it differs from network 2, before it there are 2"));
  r.networks[1] = make_network(r.architectures[1], 2);  // floats
  r.bases.pop_back();
  std::vector<std::byte> floats = write_attachment(r, &sizes);
  EXPECT_EQ(refusal(floats), "");
  for (size_t keep = 1; keep + 8 < encode_delta(back.networks[2], back.networks[1], 1).size(); keep += 5) {
    const std::vector<std::byte> whole = encode_delta(back.networks[2], back.networks[1], 1);
    EXPECT_THROW(decode_delta(std::span(whole).first(keep), back.networks, "cut"), Error) << keep;
  }
}

TEST(Attachment, RefusalsNameThePlaceAndTheReason) {
  Restoration r = random_restoration(2);
  r.segments = {{0, 1}};
  const std::vector<std::byte> bytes = write_attachment(r);
  EXPECT_EQ(refusal(bytes), "");
  EXPECT_THAT(refusal(std::span(bytes).first(3)), HasSubstr("a.mkv: byte 0: the magic number needs 4 bytes"));
  EXPECT_THAT(refusal_of_changed(bytes, 0, 'X'), HasSubstr("not an attachment of cairn"));
  EXPECT_THAT(refusal_of_changed(bytes, 4, 3), HasSubstr("version 3 of the format"));
  EXPECT_THAT(refusal_of_changed(bytes, 5, 9), HasSubstr("scale 9"));
  EXPECT_THAT(refusal_of_changed(bytes, 5, 1), HasSubstr("does not cover 319×177"));
  EXPECT_THAT(refusal(std::span(bytes).first(bytes.size() - 1)), HasSubstr("truncated or damaged"));
  std::vector<std::byte> damaged = bytes;
  damaged[100] ^= std::byte{1};
  EXPECT_THAT(refusal(damaged), HasSubstr("checksum"));
  const size_t first = 13;  // the first section
  EXPECT_THAT(refusal_of_changed(bytes, first, 77), HasSubstr("section 77 is not known"));
  EXPECT_THAT(refusal_of_changed(bytes, first + 2, 0x7F), HasSubstr("a section needs"));
  EXPECT_THAT(refusal_of_changed(bytes, first + 4, 3), HasSubstr("3 bits a weight"));
  EXPECT_THAT(refusal_of_changed(bytes, first + 5, 99), HasSubstr("network kind 99"));
  EXPECT_THAT(refusal_of_changed(bytes, first + 6, 200), HasSubstr("is not a network"));
  EXPECT_THAT(refusal_of_changed(bytes, bytes.size() - 6, 5),
              HasSubstr("a segment names network 5, there are 2"));
}

TEST(Attachment, LabelsOfAbsentNetworksAreRefused) {
  Restoration r = random_restoration(1);
  r.networks.clear();
  r.architectures.clear();
  EXPECT_THAT(refusal(write_attachment(r)), HasSubstr("it holds no network"));
  r.labels = random_labels(1, 0);
  EXPECT_THAT(refusal(write_attachment(r)), HasSubstr("labels of absent networks"));
}

TEST(Attachment, CutNetworksAreRefused) {
  const Architecture architecture = parse_architecture("C8M4");
  const std::vector<std::byte> bytes = encode_network(random_network(architecture, 2, 5, 1), architecture);
  for (size_t keep = 0; keep + 8 < bytes.size(); keep += 7)
    EXPECT_THROW(decode_network(std::span(bytes).first(keep), 2, "cut"), Error) << keep;
}

// Whatever the bytes are, they are read or refused; a real fuzzer is in fuzz/.
TEST(Attachment, RandomChangesDoNoHarm) {
  Restoration r = random_restoration(2);
  r.networks.push_back(neighbour_of(r.networks[1], 1));
  r.architectures.push_back(r.architectures[1]);
  r.bases = {-1, -1, 1};
  r.labels = random_labels(3, 0.2);
  const std::vector<std::byte> good = write_attachment(r);
  std::mt19937 random(5);
  for (int i = 0; i < 2000; ++i) {
    std::vector<std::byte> bytes = good;
    for (uint32_t n = 1 + random() % 4; n > 0; --n)
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    const uint32_t sum = XXH32(bytes.data(), bytes.size() - 4, 0);
    std::memcpy(bytes.data() + bytes.size() - 4, &sum, 4);
    try {
      const Restoration back = read_attachment(bytes, "a.mkv");
      for (const Network& network : back.networks) ASSERT_NO_THROW(validate(network, "network"));
    } catch (const Error& error) {
      ASSERT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace cairn::video
