#include "esc/replica/frame_ring.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>

#include "esc/base/prng.h"

namespace esc::replica {
namespace {

struct AlignedMemory {
  explicit AlignedMemory(std::size_t bytes)
      : data(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, bytes))), size(bytes) {}
  ~AlignedMemory() { std::free(data); }
  AlignedMemory(const AlignedMemory&) = delete;
  AlignedMemory& operator=(const AlignedMemory&) = delete;
  [[nodiscard]] ByteSpan span() const { return {data, size}; }
  std::byte* data;
  std::size_t size;
};

constexpr std::uint32_t kFrameBytes = 64 * 1024;

// Seals, writes and applies everything that is there.
void settle(FrameRing& ring) {
  ring.seal();
  while (Frame* frame = ring.next_queued()) {
    ring.mark_writing(*frame);
    frame->state = FrameState::durable;
  }
  for (std::uint64_t at = ring.entry_front(); at < ring.entry_back(); ++at) {
    if (!ring.entry(at).applied) ring.mark_applied(at);
  }
}

TEST(FrameRing, entries_of_one_frame_lie_behind_each_other) {
  AlignedMemory memory(1 << 20);
  FrameRing ring(memory.span(), kFrameBytes);
  const auto first = ring.allocate(100, 0);
  const auto second = ring.allocate(100, 0);
  ASSERT_NE(first.entry, nullptr);
  EXPECT_EQ(second.entry - first.entry, static_cast<std::ptrdiff_t>(logfmt::entry_bytes(100)));
  EXPECT_EQ(second.sequence, first.sequence + 1);
  EXPECT_EQ(ring.open_frame().entries, 2u);
}

// Whatever the ring has been through: the answer is what allocate() then does.
TEST(FrameRing, says_beforehand_whether_it_can_take_an_entry) {
  AlignedMemory memory(256 * 1024);
  FrameRing ring(memory.span(), kFrameBytes);
  Prng prng(11);
  std::uint32_t refused = 0;
  for (int step = 0; step < 20'000; ++step) {
    const auto body =
        static_cast<std::uint32_t>(prng.chance(1, 4) ? prng.between(8'000, 60'000) : prng.between(0, 3'000));
    const bool expected = ring.can_take(logfmt::entry_bytes(body));
    if (!ring.open_has_room(body)) ring.seal();
    const bool taken = ring.allocate(body, 0).entry != nullptr;
    ASSERT_EQ(taken, expected) << "step " << step << ", body of " << body;
    if (prng.chance(1, 5)) ring.seal();
    if (taken) continue;
    ++refused;
    settle(ring);
    for (std::int64_t drop = prng.between(1, 8); drop > 0; --drop) {
      (void)ring.reclaim_one(UINT64_MAX, [](EntryRecord&) {});
    }
  }
  EXPECT_GT(refused, 100u);
}

TEST(FrameRing, a_full_ring_is_back_pressure_and_reclaiming_makes_room) {
  AlignedMemory memory(256 * 1024);
  FrameRing ring(memory.span(), kFrameBytes);
  std::uint32_t allocated = 0;
  for (;;) {
    if (!ring.open_has_room(8000)) ring.seal();
    if (ring.allocate(8000, 0).entry == nullptr) break;
    ++allocated;
  }
  EXPECT_GE(allocated, 24u);
  EXPECT_FALSE(ring.reclaim_one(UINT64_MAX, [](EntryRecord&) {})) << "nothing is durable yet";
  settle(ring);
  EXPECT_TRUE(ring.reclaim_one(UINT64_MAX, [](EntryRecord&) {}));
  EXPECT_NE(ring.allocate(8000, 0).entry, nullptr);
}

TEST(FrameRing, a_frame_is_reclaimed_only_when_durable_and_applied) {
  AlignedMemory memory(256 * 1024);
  FrameRing ring(memory.span(), kFrameBytes);
  const auto allocation = ring.allocate(100, 0);
  ring.seal();
  Frame* frame = ring.next_queued();
  ring.mark_writing(*frame);
  ring.mark_applied(allocation.sequence);
  EXPECT_FALSE(ring.reclaim_one(UINT64_MAX, [](EntryRecord&) {})) << "applied, not durable";
  frame->state = FrameState::durable;
  EXPECT_TRUE(ring.reclaim_one(UINT64_MAX, [](EntryRecord&) {}));
  EXPECT_EQ(ring.bytes_free(), ring.capacity());
}

TEST(FrameRing, the_reserve_is_left_for_those_who_may_use_it) {
  AlignedMemory memory(256 * 1024);
  FrameRing ring(memory.span(), kFrameBytes);
  for (;;) {
    if (!ring.open_has_room(8000)) ring.seal();
    if (ring.allocate(8000, kFrameBytes).entry == nullptr) break;
  }
  ring.seal();
  EXPECT_GE(ring.bytes_free(), kFrameBytes);
  EXPECT_NE(ring.allocate(8000, 0).entry, nullptr);
}

// The naive twin: a list of bodies. Whatever is held must read back unchanged.
TEST(FrameRing, holds_what_was_put_in_through_many_laps) {
  AlignedMemory memory(512 * 1024);
  FrameRing ring(memory.span(), kFrameBytes);
  Prng prng(7);
  std::deque<std::pair<const std::byte*, std::uint8_t>> twin;
  std::uint64_t laps = 0;
  for (int step = 0; step < 20'000; ++step) {
    const auto bytes = static_cast<std::uint32_t>(prng.between(1, 12'000));
    if (!ring.open_has_room(bytes)) ring.seal();
    auto allocation = ring.crowded() ? FrameRing::Allocation{} : ring.allocate(bytes, 0);
    if (allocation.entry == nullptr) {
      settle(ring);
      while (ring.reclaim_one(UINT64_MAX, [&](EntryRecord& record) {
        ASSERT_EQ(record.body, twin.front().first);
        ASSERT_EQ(static_cast<std::uint8_t>(record.body[0]), twin.front().second);
        twin.pop_front();
      })) {
      }
      ++laps;
      continue;
    }
    const auto mark = static_cast<std::uint8_t>(prng.below(256));
    std::memset(allocation.entry + logfmt::kEntryHeaderBytes, mark, bytes);
    EntryRecord& record = ring.entry(allocation.sequence);
    record.body = allocation.entry + logfmt::kEntryHeaderBytes;
    record.body_bytes = bytes;
    twin.emplace_back(record.body, mark);
  }
  EXPECT_GT(laps, 100u);
}

}  // namespace
}  // namespace esc::replica
