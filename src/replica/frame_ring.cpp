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
  const std::uint64_t skipped = until_end < useful ? until_end : 0;
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
  frame.state = FrameState::writing;
  ++write_next_;
}

void FrameRing::mark_applied(std::uint64_t sequence) {
  EntryRecord& record = entry(sequence);
  ESC_ASSERT(sequence >= entry_front_ && sequence < entry_back_ && !record.applied);
  record.applied = true;
  // Frames hold consecutive sequences: binary search for the one that holds this entry.
  std::uint64_t low = frame_front_;
  std::uint64_t high = frame_back_;
  while (high - low > 1) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (frame(middle).first_sequence <= sequence)
      low = middle;
    else
      high = middle;
  }
  Frame& holder = frame(low);
  ESC_ASSERT(holder.unapplied > 0);
  --holder.unapplied;
}

}  // namespace esc::replica
