#include "resident/set.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/error.hpp"
#include "formats/stack_checksums.hpp"

namespace cairn::resident {
kernels::PlaneRows Matrix::planes(uint32_t group, bool draft) const {
  const Group& g = groups[group];
  const uint32_t rows = layout->group_rows(group);
  kernels::PlaneRows result{};
  result.level = draft ? std::min(g.planes, g.draft) : std::min(g.level, g.planes);
  result.tiles = (rows + stack::kTileRows - 1) / stack::kTileRows;
  const size_t scales = (size_t{rows} * sizeof(uint16_t) + 63) / 64 * 64;
  for (uint32_t level = 0; level < result.level; ++level) result.planes[level] = g.blocks[level] + scales;
  result.scales = reinterpret_cast<const uint16_t*>(g.blocks[result.level - 1]);
  return result;
}

Set::Set(const gguf::File& file)
    : path_(file.path()), page_(system_page_bytes()), layout_(stack::read_layout(file)) {
  if (layout_.codec != stack::Codec::planes)
    fail(ErrorCode::unsupported, "{}: only stacks of planes can be resident in part", path_);
  stack::require_sound_tensors(file);
  for (const stack::Matrix& matrix : layout_.matrices) {
    if (matrix.columns > kernels::kMostPlaneColumns)
      fail(ErrorCode::unsupported, "{}: {} has {} columns, more than {}", path_, matrix.name, matrix.columns,
           kernels::kMostPlaneColumns);
  }
  for (uint32_t level = 1; level <= layout_.planes(); ++level)
    tables_[level - 1] = kernels::make_plane_table(level, layout_.tables.data() + stack::table_offset(level));
  try {
    open_file();
    make_matrices();
    read_base();
    reader_ = std::thread([this] { read_ahead(); });
    releaser_ = std::thread([this] { give_back(); });
  } catch (const std::system_error& error) {
    release();
    fail(ErrorCode::out_of_memory, "{}: cannot start a thread: {}", path_, error.code().message());
  } catch (...) {
    release();
    throw;
  }
}

Set::~Set() {
  release();
}

void Set::release() noexcept {
  {
    const std::lock_guard lock(state_);
    leaving_ = true;
  }
  changed_.notify_all();
  for (std::thread* thread : {&reader_, &releaser_}) {
    if (thread->joinable()) thread->join();
  }
  if (arena_ != nullptr) munmap(arena_, arena_bytes_);
  if (file_ >= 0) close(file_);
}

void Set::open_file() {
  file_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_ < 0) fail(ErrorCode::io, "{}: cannot open: {}", path_, std::strerror(errno));
  posix_fadvise(file_, 0, 0, POSIX_FADV_RANDOM);  // no reading ahead but our own; advice, it may fail
  arena_bytes_ = pages(bytes_of(layout_.blocks.size()));
  void* arena =
      mmap(nullptr, arena_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (arena == MAP_FAILED)
    fail(ErrorCode::out_of_memory, "{}: no addresses for {} bytes: {}", path_, arena_bytes_,
         std::strerror(errno));
  arena_ = static_cast<std::byte*>(arena);
}

void Set::read_base() {
  states_.resize(layout_.blocks.size());
  target_ = layout_.base_blocks;
  while (read_ < target_) {
    take_over(read(read_, target_));
    if (failed_) fail(ErrorCode::io, "{}", problems_.back());
    if (!problems_.empty()) fail(ErrorCode::format, "{}", problems_.front());
  }
  for (; published_ < read_; ++published_) raise(published_);
  limit_ = bytes_of(target_);
  present_bytes_ = layout_.present_bytes;
}

void Set::make_matrices() {
  matrices_.resize(layout_.matrices.size());
  for (size_t i = 0; i < matrices_.size(); ++i) {
    Matrix& matrix = matrices_[i];
    const stack::Matrix& layout = layout_.matrices[i];
    matrix.layout = &layout;
    matrix.groups.resize(layout.groups());
    matrix.stored.resize(layout.rows);
    matrix.destination.assign(
        (size_t{layout.rows} + stack::kTileRows - 1) / stack::kTileRows * stack::kTileRows, UINT32_MAX);
    for (uint32_t row = 0; row < layout.rows; ++row) {
      matrix.stored[layout.permutation[row]] = row;
      matrix.destination[row] = layout.permutation[row];
    }
    names_.emplace(layout.name, i);
  }
  for (size_t i = 0; i < layout_.blocks.size(); ++i) {
    const stack::Block& block = layout_.blocks[i];
    matrices_[block.matrix].groups[block.group].blocks[block.level - 1] = at(i);
  }
}

const Matrix* Set::find(std::string_view name) const noexcept {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : &matrices_[found->second];
}

std::byte* Set::at(size_t block) const {
  return arena_ + (layout_.blocks[block].offset - layout_.blocks_begin);
}

std::string Set::name_of(size_t block) const {
  const stack::Block& b = layout_.blocks[block];
  return fmt::format("block {} (level {} of group {} of {})", block, b.level, b.group,
                     layout_.matrices[b.matrix].name);
}

void Set::begin_pass() {
  pass_.lock();
  in_pass_.store(true, std::memory_order_relaxed);
  boundary();
}

void Set::end_pass() {
  in_pass_.store(false, std::memory_order_relaxed);
  pass_.unlock();
  // Whoever came while the pass was held left the work to it.
  if (pending_.load() && pass_.try_lock()) {
    apply();
    pass_.unlock();
  }
}

void Set::set_draft(double bits) {
  if (bits == draft_bits_) return;
  draft_bits_ = bits;
  for (Matrix& matrix : matrices_) {
    for (Group& group : matrix.groups) group.draft = 1;
  }
  for (size_t i = layout_.base_blocks; i < layout_.blocks.size() && layout_.bits(i + 1) <= bits; ++i) {
    const stack::Block& block = layout_.blocks[i];
    if (block.level <= layout_.planes()) matrices_[block.matrix].groups[block.group].draft = block.level;
  }
}

size_t Set::blocks_of(double bits) const {
  const size_t most = layout_.blocks_within(layout_.present_bytes);
  size_t blocks = layout_.base_blocks;
  while (blocks < most && layout_.bits(blocks + 1) <= bits) ++blocks;
  return blocks;
}

void Set::raise(size_t block) {
  const stack::Block& b = layout_.blocks[block];
  Group& group = matrices_[b.matrix].groups[b.group];
  if (states_[block] != State::good) return;
  if (b.level > layout_.planes()) {
    group.level = b.level;  // needs no planes
  } else if (group.planes + 1 == b.level) {
    // After a block that was left out the planes above it stay out too.
    if (group.level == group.planes) group.level = b.level;
    group.planes = b.level;
  }
}

void Set::lower(size_t block) {
  const stack::Block& b = layout_.blocks[block];
  Group& group = matrices_[b.matrix].groups[b.group];
  if (b.level > layout_.planes()) {
    group.level = group.planes;
  } else if (group.planes == b.level) {
    --group.planes;
    if (group.level == b.level) group.level = group.planes;
  }
}

void Set::apply() {
  {
    const std::lock_guard lock(state_);
    pending_.store(false);
    const size_t end = std::min(read_, target_);
    while (published_ > end) lower(--published_);
    for (; published_ < end; ++published_) raise(published_);
  }
  changed_.notify_all();
}

// The blocks within the limit that are in the file.
void Set::aim() {
  const uint64_t end = layout_.blocks_begin + std::min(limit_, bytes_of(layout_.blocks.size()));
  target_ = std::max(layout_.base_blocks, layout_.blocks_within(std::min(end, present_bytes_)));
}

// A file that is still being pulled grows.
void Set::look_at_file() {
  struct stat about {};
  if (fstat(file_, &about) != 0) return;
  const uint64_t bytes = std::min(static_cast<uint64_t>(about.st_size), layout_.file_bytes);
  if (bytes <= present_bytes_) return;
  present_bytes_ = bytes;
  failed_ = false;
  aim();
}

void Set::set_limit(uint64_t bytes) {
  {
    const std::lock_guard lock(state_);
    limit_ = bytes;
    limited_ = bytes != UINT64_MAX;
    aim();
    failed_ = false;
    pending_.store(true);
  }
  changed_.notify_all();
  if (pass_.try_lock()) {
    apply();
    pass_.unlock();
    if (pending_.load() && pass_.try_lock()) {
      apply();
      pass_.unlock();
    }
  }
}

bool Set::wait_until_read(std::chrono::milliseconds most) {
  std::unique_lock lock(state_);
  return changed_.wait_for(lock, most, [this] { return failed_ || read_ >= target_; });
}

void Set::wait_until_released() {
  std::unique_lock lock(state_);
  changed_.wait(lock, [this] {
    const size_t used = std::max(target_, published_);
    return refused_ || (held_.load() <= pages(bytes_of(used)) && (!reading_ || *reading_ <= used));
  });
}

Status Set::status() const {
  const std::lock_guard lock(state_);
  Status status;
  status.resident_bytes = held_;
  status.limit_bytes = limit_;
  status.base_bytes = bytes_of(layout_.base_blocks);
  status.block_bytes = bytes_of(layout_.blocks.size());
  status.blocks = std::min(read_, target_);
  status.all_blocks = layout_.blocks.size();
  status.bits = layout_.bits(status.blocks);
  status.bytes_read = bytes_read_;
  status.problems = problems_;
  return status;
}

}  // namespace cairn::resident
