#include "esc/replica/frame_ring.h"

#include <algorithm>
#include <bit>

namespace esc::replica {
namespace {

// Entries are at least this large on average before the ring counts as full for lack of records.
constexpr std::uint64_t kBytesPerEntryRecord = 512;

}  // namespace

FrameRing::FrameRing(ByteSpan memory, std::uint32_t frame_bytes_max)
    : memory_(memory.first(memory.size() / kBlockBytes * kBlockBytes)),
      frame_bytes_max_(frame_bytes_max),
      frames_(std::bit_ceil(memory_.size() / kBlockBytes)),
      frame_mask_(frames_.size() - 1),
      entries_(std::bit_ceil(std::max<std::uint64_t>(memory_.size() / kBytesPerEntryRecord, 64))),
      entry_mask_(entries_.size() - 1) {
  ESC_ASSERT(is_aligned(frame_bytes_max, kBlockBytes));
  ESC_ASSERT(memory_.size() >= 2 * std::uint64_t{frame_bytes_max});
  ESC_ASSERT(is_aligned(reinterpret_cast<std::uintptr_t>(memory.data()), kBlockBytes));
}

// Opens a frame at the back. It reserves as much as may be used and gives the rest back when sealed.
bool FrameRing::open_new(std::uint64_t bytes_needed, std::uint64_t reserve_bytes) {
  ESC_ASSERT(!open_);
  if (frame_back_ - frame_front_ == frames_.size()) return false;
  const std::uint64_t offset = back_ % memory_.size();
  const std::uint64_t until_end = memory_.size() - offset;
  // A remainder at the end that would make a small frame is skipped, too: many small frames mean many
  // flushes.
  const std::uint64_t useful =
      std::max(bytes_needed, std::min<std::uint64_t>(frame_bytes_max_, memory_.size() / 32));
  std::uint64_t skipped = until_end < useful ? until_end : 0;
  const bool must_skip = until_end < bytes_needed;
  if (!must_skip && bytes_free() < skipped + bytes_needed + reserve_bytes) skipped = 0;
  if (bytes_free() < skipped + bytes_needed + reserve_bytes) return false;
  const std::uint64_t contiguous = skipped != 0 ? memory_.size() : until_end;
  const std::uint64_t room =
      std::min({contiguous, bytes_free() - skipped - reserve_bytes, std::uint64_t{frame_bytes_max_}});
  Frame& opened = frame(frame_back_);
  // Bytes skipped at the physical end belong to the frame before; when there is none, to nobody.
  if (skipped != 0) {
    if (frame_front_ == frame_back_) {
      front_ += skipped;
    } else {
      frame(frame_back_ - 1).bytes_reserved += static_cast<std::uint32_t>(skipped);
    }
    back_ += skipped;
  }
  opened = Frame{};
  opened.position = back_;
  opened.bytes_reserved = static_cast<std::uint32_t>(room / kBlockBytes * kBlockBytes);
  opened.first_sequence = entry_back_;
  opened.frame = memory_.data() + back_ % memory_.size();
  back_ += opened.bytes_reserved;
  ++frame_back_;
  open_ = true;
  return true;
}

bool FrameRing::can_take(std::uint64_t payload_bytes, std::uint64_t entries) const {
  if (entries_free() < entries) return false;
  std::uint64_t back = back_;
  if (open_) {
    const Frame& current = frames_[(frame_back_ - 1) & frame_mask_];
    const std::uint64_t used = logfmt::kFrameHeaderBytes + current.payload_bytes;
    if (used + payload_bytes <= current.bytes_reserved) return true;
    back = current.position + align_up(used, kBlockBytes);  // sealed, it gives back the rest
  }
  if (frames_free() == 0) return false;
  const std::uint64_t needed = align_up(logfmt::kFrameHeaderBytes + payload_bytes, kBlockBytes);
  const std::uint64_t until_end = memory_.size() - back % memory_.size();
  const std::uint64_t skipped = until_end < needed ? until_end : 0;
  return memory_.size() - (back - front_) >= skipped + needed;
}

FrameRing::Allocation FrameRing::allocate(std::uint32_t body_bytes, std::uint64_t reserve_bytes) {
  const std::uint64_t bytes = logfmt::entry_bytes(body_bytes);
  if (entry_back_ - entry_front_ == entries_.size()) return {};
  ESC_ASSERT(open_has_room(body_bytes));
  if (!open_ && !open_new(align_up(logfmt::kFrameHeaderBytes + bytes, kBlockBytes), reserve_bytes)) return {};
  Frame& current = open_frame();
  std::byte* entry = current.frame + logfmt::kFrameHeaderBytes + current.payload_bytes;
  current.payload_bytes += static_cast<std::uint32_t>(bytes);
  ++current.entries;
  ++current.unapplied;
  const std::uint64_t sequence = entry_back_++;
  this->entry(sequence) = EntryRecord{};
  return {entry, sequence};
}

void FrameRing::seal() {
  if (!open_) return;
  Frame& current = open_frame();
  ESC_ASSERT(current.entries > 0);
  const auto used = static_cast<std::uint32_t>(
      align_up(std::uint64_t{logfmt::kFrameHeaderBytes} + current.payload_bytes, kBlockBytes));
  ESC_ASSERT(used <= current.bytes_reserved);
  back_ -= current.bytes_reserved - used;
  current.bytes_reserved = used;
  current.state = FrameState::queued;
  open_ = false;
}

Frame* FrameRing::next_queued() {
  return write_next_ == sealed_back() ? nullptr : &frame(write_next_);
}

void FrameRing::mark_writing(Frame& frame) {
  ESC_ASSERT(&frame == next_queued() && frame.state == FrameState::queued);
  // All of it was superseded while it waited: nothing to write.
  frame.state = frame.payload_bytes == 0 ? FrameState::durable : FrameState::writing;
  ++write_next_;
}

void FrameRing::set_index(std::uint64_t sequence, Index index) {
  entry(sequence).index = index;
  if (!runs_.empty() && runs_.back().first_index + (sequence - runs_.back().first_sequence) == index) return;
  // Runs of what has been reclaimed are forgotten; so is the oldest of very many.
  while (runs_.size() > 1 && (runs_[1].first_sequence <= entry_front_ || runs_.full())) runs_.erase_at(0);
  runs_.push_back({sequence, index});
}

std::uint64_t FrameRing::sequence_of(Index index) const {
  for (std::size_t i = runs_.size(); i-- > 0;) {
    const IndexRun& run = runs_[i];
    if (index < run.first_index) continue;
    // A newer run that starts lower has superseded the rest of this one; it would have been found first.
    const std::uint64_t sequence = run.first_sequence + (index - run.first_index);
    const std::uint64_t end = i + 1 < runs_.size() ? runs_[i + 1].first_sequence : entry_back_;
    if (sequence < entry_front_ || sequence >= end || entry(sequence).superseded) return kNoEntry;
    return sequence;
  }
  return kNoEntry;
}

// Frames hold consecutive sequences: binary search for the one that holds this entry.
std::uint64_t FrameRing::frame_of(std::uint64_t sequence) const {
  ESC_ASSERT(sequence >= entry_front_ && sequence < entry_back_);
  std::uint64_t low = frame_front_;
  std::uint64_t high = frame_back_;
  while (high - low > 1) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (frame(middle).first_sequence <= sequence)
      low = middle;
    else
      high = middle;
  }
  return low;
}

void FrameRing::mark_applied(std::uint64_t sequence) {
  EntryRecord& record = entry(sequence);
  ESC_ASSERT(!record.applied);
  record.applied = true;
  Frame& holder = frame(frame_of(sequence));
  ESC_ASSERT(holder.unapplied > 0);
  --holder.unapplied;
}

bool FrameRing::unapplied_exceeds(std::uint64_t share) {
  unapplied_front_ = std::max(unapplied_front_, frame_front_);
  while (unapplied_front_ < sealed_back() && frame(unapplied_front_).unapplied == 0) ++unapplied_front_;
  unapplied_front_ = std::min(unapplied_front_, frame_back_);  // an open frame may have vanished
  if (unapplied_front_ == frame_back_) return false;
  const Frame& oldest = frame(unapplied_front_);
  return back_ - oldest.position > memory_.size() / share ||
         entry_back_ - oldest.first_sequence > entries_.size() / share ||
         frame_back_ - unapplied_front_ > frames_.size() / share;
}

// The newest entry leaves the open frame; the last one takes the frame with it.
void FrameRing::pop_open() {
  Frame& current = open_frame();
  const EntryRecord& record = entry(entry_back_ - 1);
  current.payload_bytes -=
      static_cast<std::uint32_t>(logfmt::entry_bytes(record.body_bytes + record.ids_bytes));
  --current.entries;
  if (!record.applied) --current.unapplied;
  --entry_back_;
  if (!runs_.empty() && runs_.back().first_sequence == entry_back_) runs_.pop_back();
  if (current.entries == 0) {
    back_ = current.position;
    --frame_back_;
    open_ = false;
  } else {
    current.last_index = entry(entry_back_ - 1).index;
  }
}

void FrameRing::truncate(Index from) {
  for (std::uint64_t at = entry_back_; at-- > entry_front_;) {
    EntryRecord& record = entry(at);
    if (record.superseded) continue;
    if (record.index < from) return;
    ESC_ASSERT(record.partition == nullptr);
    if (open_ && at >= open_frame().first_sequence) {
      pop_open();
    } else {
      record.superseded = true;
      if (!record.applied) mark_applied(at);  // of a deleted partition: it is already
      Frame& holder = frame(frame_of(at));
      if (holder.state != FrameState::queued) continue;
      // Not written yet: what is left of it will be.
      holder.payload_bytes = static_cast<std::uint32_t>(record.body - holder.frame) -
                             logfmt::kEntryHeaderBytes - logfmt::kFrameHeaderBytes;
      holder.last_index = record.index.prev();
    }
  }
}

FrameRing::Slice FrameRing::slice(std::uint64_t sequence, std::uint64_t last) const {
  ESC_ASSERT(sequence <= last && last < entry_back_);
  const std::uint64_t number = frame_of(sequence);
  const Frame& holder = frame(number);
  const std::uint64_t end = std::min(last + 1, holder.first_sequence + holder.entries);
  const std::byte* const start = entry(sequence).body - logfmt::kEntryHeaderBytes;
  const EntryRecord& newest = entry(end - 1);
  const std::byte* const stop =
      newest.body - logfmt::kEntryHeaderBytes + logfmt::entry_bytes(newest.body_bytes + newest.ids_bytes);
  return {start, static_cast<std::uint32_t>(stop - start), static_cast<std::uint32_t>(end - sequence),
          number};
}

}  // namespace esc::replica
