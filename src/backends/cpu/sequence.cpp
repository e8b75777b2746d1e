#include "backends/cpu/sequence.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.hpp"

namespace cairn::cpu {
namespace {

constexpr uint32_t kPage = kernels::kPagePositions;

size_t pages_for(uint64_t positions) {
  return static_cast<size_t>((positions + kPage - 1) / kPage);
}

}  // namespace

PagedSequence::PagedSequence(std::shared_ptr<const PageLayout> layout, std::shared_ptr<PagePool> pool,
                             RecurrentState state, uint32_t most_rows)
    : layout_(std::move(layout)),
      pool_(std::move(pool)),
      pages_(layout_->layers()),
      tables_(layout_->layers()),
      gone_(layout_->layers()),
      state_(std::move(state)),
      most_rows_(most_rows) {}

void PagedSequence::put(uint32_t layer, size_t at, Page page) {
  tables_[layer][at] = page.get();
  pages_[layer][at] = std::move(page);
}

void PagedSequence::keep(uint32_t positions) {
  const size_t pages = pages_for(positions);
  for (uint32_t layer = 0; layer < pages_.size(); ++layer) {
    if (pages_[layer].size() <= pages) continue;
    pages_[layer].resize(pages);
    tables_[layer].resize(pages);
  }
}

void PagedSequence::trim() {
  keep(length_);
  state_.trim();
  guesses_ = 0;
}

uint32_t PagedSequence::truncate(uint32_t length) {
  if (length > length_)
    fail(ErrorCode::invalid_argument, "a sequence of {} tokens has no first {}", length_, length);
  length = state_.reachable(length);
  for (uint32_t layer = 0; layer < pages_.size(); ++layer) {
    const uint32_t window = layout_->window(layer);
    const uint32_t first = window != 0 && length + 1 > window ? length + 1 - window : 0;
    if (first < gone_[layer] * kPage) length = 0;
  }
  if (length == 0) std::fill(gone_.begin(), gone_.end(), 0U);
  length_ = length;
  state_.truncate(length_);
  trim();
  return length_;
}

std::unique_ptr<engine::Sequence> PagedSequence::fork() const {
  std::unique_ptr<PagedSequence> other(new PagedSequence(*this));
  other->trim();
  return other;
}

uint64_t PagedSequence::bytes() const {
  uint64_t pages = 0;
  for (uint32_t layer = 0; layer < pages_.size(); ++layer) pages += pages_[layer].size() - gone_[layer];
  return pages * layout_->bytes() + state_.bytes();
}

uint64_t PagedSequence::coming(uint32_t tokens) const {
  const size_t pages = pages_for(uint64_t{length_} + tokens);
  uint64_t count = 0;
  for (uint32_t i = 0; i < pages_.size(); ++i) {
    const std::vector<Page>& layer = pages_[i];
    if (!layout_->attends(i)) continue;
    count += pages - std::min(pages, layer.size());
    const size_t at = first_written(i) / kPage;
    if (at < layer.size() && layer[at].use_count() > 1) ++count;
  }
  return count * layout_->bytes() + state_.coming(length_, tokens, tokens <= most_rows_);
}

void PagedSequence::extend(uint32_t tokens) {
  const size_t pages = pages_for(uint64_t{length_} + tokens);
  for (uint32_t layer = 0; layer < pages_.size(); ++layer) {
    if (!layout_->attends(layer)) continue;
    const size_t at = first_written(layer) / kPage;
    if (at < pages_[layer].size() && pages_[layer][at].use_count() > 1) {
      Page own = pool_->take();
      std::memcpy(own.get(), tables_[layer][at], layout_->bytes());
      put(layer, at, std::move(own));
    }
    while (pages_[layer].size() < pages) {
      Page page = pool_->take();
      tables_[layer].push_back(page.get());
      pages_[layer].push_back(std::move(page));
    }
  }
  state_.extend(length_, tokens, tokens <= most_rows_);
}

void PagedSequence::commit(uint32_t tokens) {
  length_ += tokens;
  guesses_ = 0;
  state_.commit(length_);
  for (uint32_t layer = 0; layer < pages_.size(); ++layer) {
    const uint32_t window = layout_->window(layer);
    if (window == 0 || length_ <= window + kRollBack) continue;
    for (const uint32_t end = (length_ - window - kRollBack) / kPage; gone_[layer] < end; ++gone_[layer])
      put(layer, gone_[layer], {});
  }
}

bool PagedSequence::read_block(uint32_t index, std::span<std::byte> to) const {
  const size_t bytes = layout_->bytes();
  if (index >= length_ / kPage || to.size() != layout_->attending() * bytes) return false;
  std::byte* at = to.data();
  for (uint32_t layer = 0; layer < pages_.size(); ++layer) {
    if (!layout_->attends(layer)) continue;
    if (index < gone_[layer]) return false;
    std::memcpy(at, tables_[layer][index], bytes);
    at += bytes;
  }
  return true;
}

void PagedSequence::write_block(std::span<const std::byte> from) {
  const size_t bytes = layout_->bytes();
  const std::byte* at = from.data();
  for (uint32_t layer = 0; layer < pages_.size(); ++layer) {
    if (!layout_->attends(layer)) continue;
    std::memcpy(pages_[layer][length_ / kPage].get(), at, bytes);
    at += bytes;
  }
  commit(kPage);
}

kernels::KvRows PagedSequence::rows(uint32_t layer, uint32_t index) const {
  return {layout_->format(layer, index), tables_[layer].data(), layout_->rows(layer, index),
          layout_->scales(layer, index)};
}

PagedSequence::Place PagedSequence::place(uint32_t layer, uint32_t index, uint32_t position) const {
  std::byte* page = pages_[layer][position / kPage].get();
  const size_t row = position % kPage;
  return {page + layout_->rows(layer, index) + row * layout_->row_bytes(layer, index),
          page + layout_->scales(layer, index) + row * layout_->scale_bytes(layer),
          layout_->format(layer, index)};
}

Sequences::Sequences(const graph::Model& model, kernels::KvFormat format, std::string owner, size_t spare,
                     uint32_t most_rows)
    : layout_(std::make_shared<PageLayout>(model, format)),
      pool_(std::make_shared<PagePool>(layout_->bytes(), spare)),
      state_layout_(std::make_shared<StateLayout>(model)),
      states_(state_layout_->empty() ? nullptr : std::make_shared<PagePool>(state_layout_->bytes(), spare)),
      most_rows_(most_rows),
      owner_(std::move(owner)) {}

std::unique_ptr<engine::Sequence> Sequences::make() const {
  RecurrentState state(state_layout_, states_,
                       RecurrentState::kStep / kPage * layout_->attending() * layout_->bytes());
  return std::make_unique<PagedSequence>(layout_, pool_, std::move(state), most_rows_);
}

PagedSequence& Sequences::own(engine::Sequence& sequence) const {
  auto* paged = dynamic_cast<PagedSequence*>(&sequence);
  if (paged == nullptr || paged->pool_ != pool_)
    fail(ErrorCode::invalid_argument, "a sequence belongs to the engine that made it, not to that of {}",
         owner_);
  return *paged;
}

uint64_t Sequences::coming(std::span<const engine::Slice> slices) const {
  uint64_t bytes = 0;
  for (const engine::Slice& slice : slices)
    bytes += own(*slice.sequence).coming(static_cast<uint32_t>(slice.tokens.size()));
  return bytes;
}

void Sequences::check_block(engine::Sequence& sequence, size_t bytes, uint32_t context) const {
  const uint32_t length = own(sequence).length();
  if (length % kPage != 0 || bytes != block_bytes() || length > context - std::min(context, kPage)) {
    fail(ErrorCode::invalid_argument,
         "a block of {} bytes does not go behind {} tokens: blocks have {} bytes and {} positions, the "
         "context "
         "{}",
         bytes, length, block_bytes(), kPage, context);
  }
}

void Sequences::extend(engine::Sequence& sequence, uint32_t tokens) const {
  PagedSequence& paged = own(sequence);
  try {
    paged.extend(tokens);
  } catch (...) {
    paged.trim();
    throw;
  }
}

}  // namespace cairn::cpu
