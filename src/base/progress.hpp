#pragma once

#include <cstdint>
#include <string>

#include "base/clock.hpp"

namespace cairn {

// A bar on stderr with rate and time left, for work that will take more than two seconds. Draws only on a
// terminal; the destructor wipes the line.
class Progress {
 public:
  // unit: "B" prints sizes (MiB); anything else is the word for what is counted ("tokens"). total 0: not
  // known.
  Progress(std::string label, uint64_t total, std::string unit = "B");
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(uint64_t done);  // cheap enough to call for every small step
  // Seconds until all of the work is done, of which this is a part: shown in place of this part's own.
  void set_all_left(double seconds) { all_left_ = seconds; }
  void advance(uint64_t more) { update(done_ + more); }
  void restart(uint64_t done,
               uint64_t total);  // what was there before (a resumed file) is no part of the rate

 private:
  void draw(double seconds);

  std::string label_, unit_;
  uint64_t total_, done_ = 0, begin_ = 0;
  bool terminal_, drawn_ = false;
  double next_draw_ = 0.3;  // seconds
  double all_left_ = -1;    // seconds; not known
  Stopwatch watch_;
};

// "7:30", "1:02:07"
std::string duration(double seconds);

}  // namespace cairn
