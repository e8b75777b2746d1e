#include "offload/timeline.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace cairn::offload {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Timeline example() {
  return {.title = "a </script><b>\"model\" & 'more'",
          .npu = "NPU <x>",
          .cpu = "",
          .events = {{0, 0, TaskKind::attention_input, Processor::cpu, 0, 1},
                     {0, 0, TaskKind::qkv, Processor::npu, 1, 3},
                     {1, 0, TaskKind::attention_input, Processor::cpu, 1, 2},
                     {1, 0, TaskKind::qkv, Processor::npu, 4, 5},
                     {0, 0, TaskKind::shadow_qkv, Processor::cpu, 2, 2.5}}};
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(Timeline, MeasuresBubblesFromAProcessorsFirstBegin) {
  const Timeline t = example();
  EXPECT_EQ(t.makespan(), 5);
  EXPECT_EQ(t.busy(Processor::npu), 3);
  EXPECT_DOUBLE_EQ(t.bubble(Processor::npu), 1 - 3.0 / 4);
  EXPECT_DOUBLE_EQ(t.bubble(Processor::cpu), 1 - 2.5 / 5);
  EXPECT_EQ(Timeline().makespan(), 0);
  EXPECT_EQ(Timeline().bubble(Processor::npu), 0);
}

// Chunk 0 works from 0 to 3, its shadow work beside its product; chunk 1 from 1 to 2 and from 4 to 5.
TEST(Timeline, MeasuresHowLongChunksWait) {
  EXPECT_DOUBLE_EQ(example().waiting(), (0.0 + 2.0 / 4) / 2);
  EXPECT_EQ(Timeline().waiting(), 0);
  Timeline t;
  t.events = {{0, 0, TaskKind::qkv, Processor::npu, 6, 8}, {0, 0, TaskKind::ffn, Processor::npu, 1, 2}};
  EXPECT_DOUBLE_EQ(t.waiting(), 4.0 / 7);
  // Two tasks at once from 4 to 5 count once.
  t.events.push_back({0, 0, TaskKind::attention, Processor::cpu, 3, 5});
  t.events.push_back({0, 0, TaskKind::attention_output, Processor::npu, 4, 5.5});
  EXPECT_DOUBLE_EQ(t.waiting(), (1 + 0.5) / 7);
}

TEST(Timeline, IsAChromeTrace) {
  const auto json = nlohmann::json::parse(chrome_trace(example()));
  size_t runs = 0, names = 0;
  for (const auto& event : json["traceEvents"]) {
    ASSERT_TRUE(event["pid"].is_number_integer());
    ASSERT_TRUE(event["tid"].is_number_integer());
    if (event["ph"] == "M") {
      names += event["name"] == "thread_name";
      continue;
    }
    ASSERT_EQ(event["ph"], "X");
    ASSERT_GE(event["dur"].get<double>(), 0);
    ++runs;
  }
  EXPECT_EQ(runs, 5u);
  EXPECT_EQ(names, 2u);
  const auto& qkv = json["traceEvents"][4];
  EXPECT_EQ(qkv["name"], "qkv");
  EXPECT_EQ(qkv["ts"], 1e6);
  EXPECT_EQ(qkv["dur"], 2e6);
  EXPECT_EQ(qkv["args"]["chunk"], 0);
  EXPECT_EQ(json["traceEvents"][0]["args"]["name"], example().title);
  EXPECT_EQ(json["traceEvents"][1]["args"]["name"], "NPU <x>");
  EXPECT_EQ(json["traceEvents"][2]["args"]["name"], "CPU");
}

TEST(Timeline, SurvivesATitleThatIsNoText) {
  Timeline t = example();
  t.title = "\xff\x01\n@DATA@ @TITLE@ \xc3";
  EXPECT_TRUE(nlohmann::json::accept(chrome_trace(t)));
  const std::string page = gantt_html(t);
  EXPECT_EQ(count(page, "const data="), 1u);
  const Timeline none;
  EXPECT_TRUE(nlohmann::json::accept(chrome_trace(none)));
  EXPECT_THAT(gantt_html(none), HasSubstr("</html>"));
  EXPECT_THAT(gantt_svg({}, 0, 0), HasSubstr("</svg>"));
}

// The runs as the page's script reads them.
nlohmann::json page_data(const std::string& page) {
  const std::string mark = "const data=";
  const size_t begin = page.find(mark) + mark.size();
  return nlohmann::json::parse(page.substr(begin, page.find(";\n", begin) - begin));
}

TEST(Timeline, IsASelfContainedPage) {
  const std::string page = gantt_html(example());
  EXPECT_THAT(page,
              HasSubstr("<title>a &lt;/script&gt;&lt;b&gt;&quot;model&quot; &amp; &#39;more&#39;</title>"));
  EXPECT_EQ(count(page, "</script>"), 1u) << "the title ends the script";
  EXPECT_THAT(page, Not(HasSubstr("<b>")));
  EXPECT_THAT(page, Not(HasSubstr("http")));
  EXPECT_THAT(page, Not(HasSubstr("src=")));
  const auto data = page_data(page);
  const auto& t = data["timelines"][0];
  EXPECT_EQ(t["title"], example().title);
  EXPECT_EQ(t["makespan"], 5);
  ASSERT_EQ(t["rows"].size(), 2u);
  EXPECT_EQ(t["rows"][0]["begin"], (std::vector<double>{1, 4}));
  EXPECT_EQ(t["rows"][0]["bubble"], 0.25);
  EXPECT_EQ(t["rows"][1]["begin"], (std::vector<double>{0, 1, 2}));  // sorted
  EXPECT_EQ(t["rows"][1]["chunk"], (std::vector<int>{0, 1, 0}));
  EXPECT_EQ(data["kinds"][static_cast<size_t>(TaskKind::shadow_qkv)], "shadow qkv");
  EXPECT_EQ(data["shadow"][static_cast<size_t>(TaskKind::shadow_qkv)], true);
  EXPECT_EQ(data["shadow"][static_cast<size_t>(TaskKind::ffn_down)], false);
}

TEST(Timeline, IsAStillPicture) {
  const std::vector<Timeline> two(2, example());
  const std::string whole = gantt_svg(two, 0, 5);
  // Background, a bar a row, a legend entry a chunk, and the runs; the shadow's is drawn twice, hatched.
  EXPECT_EQ(count(whole, "<rect "), 1u + 4 + 2 + 2 * (5 + 1));
  EXPECT_EQ(count(whole, "url(#shadow)"), 2u);
  EXPECT_THAT(whole, Not(HasSubstr("<b>")));
  EXPECT_THAT(whole, HasSubstr("25.0 % idle"));
  EXPECT_EQ(count(gantt_svg(two, 3.5, 5), "<rect "), 1u + 4 + 2 + 2 * 1);
}

}  // namespace
}  // namespace cairn::offload
