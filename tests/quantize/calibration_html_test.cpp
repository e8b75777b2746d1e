#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantize/line_chart.hpp"
#include "support.hpp"

namespace cairn::quantize {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(CalibrationHtml, DrawsTheFiguresAndNeedsNothingElse) {
  const TinyFile model;
  Calibration c = made_up(model.file);
  c.model = "a <model> & \"more\"";
  const std::string page = calibration_html(c);
  for (const char* part : {"Fig. 10", "Fig. 11", "Fig. 12", "top 3 %", "rotation-static", "Times on cpu"}) {
    EXPECT_THAT(page, HasSubstr(part));
  }
  EXPECT_THAT(page, HasSubstr("a &lt;model&gt; &amp; &quot;more&quot;"));
  for (const char* part : {"http", "src=", "<script", "@import", "nan", "inf\""})
    EXPECT_THAT(page, Not(HasSubstr(part)));
  EXPECT_EQ(count(page, "<svg"), 4 + kForms);
  // Four inputs, two layers: eight points in a figure by layer.
  const std::string first = page.substr(page.find("<svg"), page.find("</svg>") - page.find("<svg"));
  EXPECT_EQ(count(first, "<circle"), 8U);
  EXPECT_EQ(count(first, "<polyline"), 4U);
}

TEST(LineChart, LeavesOutWhatALogarithmCannotShow) {
  LineChart chart{"t", "x", "y", false, true, {{"s", {0, 1, 2, 3}, {1, 0, std::nan(""), 100}}}};
  EXPECT_EQ(count(svg(chart), "<circle"), 2U);
  EXPECT_THAT(svg(chart), Not(HasSubstr("nan")));
  chart.series = {{"none", {}, {}}};
  EXPECT_EQ(count(svg(chart), "<circle"), 0U);
}

TEST(LineChart, PutsPointsWhereTheyBelong) {
  const LineChart chart{"t", "x", "y", false, false, {{"s", {0, 10}, {0, 5}}}};
  const std::string picture = svg(chart);
  EXPECT_THAT(picture, HasSubstr("points=\"96.0,264.0 744.0,16.0 \""));
}

}  // namespace
}  // namespace cairn::quantize
