// The memory of a group's newest frames: a byte ring in log order, and a record for every entry in it.
//
// A frame is filled in place (one copy of each batch), written to the WAL from here, served to tail
// readers from here, and reclaimed, oldest first, once everything in it is durable and applied to the segment
// files. The ring is therefore both the write buffer and the read cache of the log's tail.
//
//   reclaimed | durable, applied | durable, not applied | writing | queued | open | free
//             ^front                                                              ^back
//
// Threading: one core. Memory: the block is the caller's, kBlockBytes-aligned; descriptors are allocated once
// at construction. A full ring is back-pressure: allocate() returns null.
#pragma once

#include <cstdint>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/fixed_vector.h"
#include "esc/base/ids.h"
#include "esc/base/units.h"
#include "esc/logfmt/entry.h"
#include "esc/logfmt/frame.h"
#include "esc/raft/effects.h"
#include "esc/wal/log.h"

namespace esc::replica {

class Partition;

inline constexpr std::uint64_t kNoEntry = UINT64_MAX;

// One entry in the ring. Entries are numbered consecutively by `sequence` (not the Raft index:
// numbering restarts with the process); slot = sequence modulo capacity.
struct EntryRecord {
  Index index;
  const std::byte* body = nullptr;
  std::uint32_t body_bytes = 0;  // of the batch, when ids of its records follow
  std::uint32_t ids_bytes = 0;   // these, and the padding before them
  logfmt::EntryKind kind = logfmt::EntryKind::none;
  bool applied = false;     // written to a segment, or a command carried out; or superseded
  bool superseded = false;  // truncated by a new leader: not part of the log any more
  PartitionId partition_id;
  Partition* partition = nullptr;  // of a batch that holds its offsets; null once the partition is deleted
  Offset base_offset;
  Offset last_offset;
  WallMs max_timestamp = 0;
  std::uint64_t newer = kNoEntry;  // next entry of the same partition
  std::uint64_t older = kNoEntry;  // previous one, kNoEntry when reclaimed or none
};

enum class FrameState : std::uint8_t { open, queued, writing, durable };

struct Frame : wal::FrameWrite {
  raft::WriteMark mark;              // handed to the core when the frame is durable
  bool proposed = false;             // the core knows its entries; false in a leader's open frame
  std::uint64_t position = 0;        // logical, modulo the ring's size
  std::uint32_t bytes_reserved = 0;  // from position
  FrameState state = FrameState::open;
  std::uint64_t first_sequence = 0;
  std::uint32_t entries = 0;
  std::uint32_t unapplied = 0;  // entries whose `applied` is false
};

class FrameRing {
 public:
  // `frame_bytes_max` bounds one frame, header and padding included.
  FrameRing(ByteSpan memory, std::uint32_t frame_bytes_max);

  // False when a frame is open and the body does not fit in it: seal first.
  [[nodiscard]] bool open_has_room(std::uint32_t body_bytes) const {
    if (!open_) return true;
    const Frame& current = frames_[(frame_back_ - 1) & frame_mask_];
    return logfmt::kFrameHeaderBytes + current.payload_bytes + logfmt::entry_bytes(body_bytes) <=
           current.bytes_reserved;
  }
  // Room for one entry in the open frame (opened when there is none), or null when the ring is full.
  // Requires open_has_room. On success the entry's header and body bytes are the caller's to fill and
  // `sequence` names its record, to be filled too. `reserve_bytes` are kept free for others.
  struct Allocation {
    std::byte* entry = nullptr;
    std::uint64_t sequence = 0;
  };
  [[nodiscard]] Allocation allocate(std::uint32_t body_bytes, std::uint64_t reserve_bytes);
  // True when the body would fit an empty frame at all.
  [[nodiscard]] bool fits(std::uint64_t body_bytes) const {
    return logfmt::entry_bytes(body_bytes) + logfmt::kFrameHeaderBytes <= frame_bytes_max_;
  }

  // Whether `entries` of so many payload bytes get into the open frame, or into a new one behind it.
  [[nodiscard]] bool can_take(std::uint64_t payload_bytes, std::uint64_t entries = 1) const;

  // The open frame becomes queued; no-op without one.
  void seal();
  [[nodiscard]] bool has_open() const { return open_; }
  // Valid while has_open().
  [[nodiscard]] Frame& open_frame() { return frame(frame_back_ - 1); }
  // The oldest queued frame, or null. mark_writing() moves it on.
  [[nodiscard]] Frame* next_queued();
  [[nodiscard]] bool has_queued() const { return write_next_ != sealed_back(); }
  [[nodiscard]] std::uint32_t queued() const {
    return static_cast<std::uint32_t>(sealed_back() - write_next_);
  }
  void mark_writing(Frame& frame);

  [[nodiscard]] EntryRecord& entry(std::uint64_t sequence) { return entries_[sequence & entry_mask_]; }
  [[nodiscard]] const EntryRecord& entry(std::uint64_t sequence) const {
    return entries_[sequence & entry_mask_];
  }
  [[nodiscard]] std::uint64_t entry_front() const { return entry_front_; }  // oldest held
  [[nodiscard]] std::uint64_t entry_back() const { return entry_back_; }    // one past the newest

  // Gives the entry its place in the log. Called once per entry, in order; a step back or a gap begins after
  // truncate().
  void set_index(std::uint64_t sequence, Index index);
  // The entry that is the log's `index`, or kNoEntry when it is not held here.
  [[nodiscard]] std::uint64_t sequence_of(Index index) const;

  // An entry has been applied; its frame may become reclaimable.
  void mark_applied(std::uint64_t sequence);

  // Entries at and above `from` leave the log: those in the open frame vanish, those in sealed frames stay as
  // superseded until the frame is reclaimed. None of them is applied.
  void truncate(Index from);

  // Raw entries [sequence, ...] as they lie in one frame, up to its end or `last` (inclusive).
  struct Slice {
    const std::byte* data = nullptr;
    std::uint32_t bytes = 0;
    std::uint32_t entries = 0;
    std::uint64_t frame = 0;  // number, for reclaim_one's limit
  };
  [[nodiscard]] Slice slice(std::uint64_t sequence, std::uint64_t last) const;

  // Drops the oldest frame if it is durable and applied and its number below `limit`;
  // `on_entry(EntryRecord&)` runs for each entry in it, oldest first. Returns false when nothing could be
  // dropped.
  template <class F>
  bool reclaim_one(std::uint64_t limit, F&& on_entry) {
    if (frame_front_ == frame_back_ || frame_front_ >= limit) return false;
    Frame& oldest = frame(frame_front_);
    if (oldest.state != FrameState::durable || oldest.unapplied != 0) return false;
    for (std::uint32_t i = 0; i < oldest.entries; ++i) on_entry(entry(entry_front_++));
    front_ = oldest.position + oldest.bytes_reserved;
    ++frame_front_;
    return true;
  }

  // From the oldest frame that is not applied on, more than 1/share of the ring is taken: bytes (headers and
  // padding included), records or descriptors, whichever is scarcest.
  [[nodiscard]] bool unapplied_exceeds(std::uint64_t share);
  // Records or frame descriptors run out before bytes do (many tiny entries).
  [[nodiscard]] bool crowded() const {
    return entry_back_ - entry_front_ > entries_.size() - entries_.size() / 8 ||
           frame_back_ - frame_front_ > frames_.size() - frames_.size() / 8;
  }
  [[nodiscard]] std::uint64_t entries_free() const { return entries_.size() - (entry_back_ - entry_front_); }
  [[nodiscard]] std::uint64_t frames_free() const { return frames_.size() - (frame_back_ - frame_front_); }
  [[nodiscard]] std::uint64_t frame_front() const { return frame_front_; }  // number of the oldest held
  [[nodiscard]] std::uint64_t bytes_free() const { return memory_.size() - (back_ - front_); }
  [[nodiscard]] std::uint64_t capacity() const { return memory_.size(); }
  [[nodiscard]] std::uint32_t frame_bytes_max() const { return frame_bytes_max_; }

 private:
  // Consecutive indexes at consecutive sequences, from here to the next run.
  struct IndexRun {
    std::uint64_t first_sequence = 0;
    Index first_index;
  };
  static constexpr std::size_t kIndexRunsMax = 32;

  [[nodiscard]] Frame& frame(std::uint64_t number) { return frames_[number & frame_mask_]; }
  [[nodiscard]] const Frame& frame(std::uint64_t number) const { return frames_[number & frame_mask_]; }
  [[nodiscard]] std::uint64_t frame_of(std::uint64_t sequence) const;
  void pop_open();
  [[nodiscard]] std::uint64_t sealed_back() const { return open_ ? frame_back_ - 1 : frame_back_; }
  bool open_new(std::uint64_t bytes_needed, std::uint64_t reserve_bytes);

  ByteSpan memory_;
  std::uint32_t frame_bytes_max_;
  std::vector<Frame> frames_;
  std::uint64_t frame_mask_;
  std::vector<EntryRecord> entries_;
  std::uint64_t entry_mask_;

  std::uint64_t front_ = 0;  // logical byte positions, growing
  std::uint64_t back_ = 0;
  std::uint64_t frame_front_ = 0;  // frame numbers
  std::uint64_t frame_back_ = 0;
  std::uint64_t write_next_ = 0;       // the next frame to hand to the WAL
  std::uint64_t unapplied_front_ = 0;  // frames before it are applied
  std::uint64_t entry_front_ = 0;
  std::uint64_t entry_back_ = 0;
  FixedVector<IndexRun, kIndexRunsMax> runs_;  // ascending by sequence
  bool open_ = false;
};

}  // namespace esc::replica
