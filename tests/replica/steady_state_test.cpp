// A group under a steady load: no allocation, and its writes to segment files come evenly.
#include <array>
#include <new>

#include "group_world.h"

// NOLINTBEGIN: replacing the global operators is the point. Not inlined, or the compiler sees new paired with
// free.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  if (esc::replica::test::counting.load(std::memory_order_relaxed))
    esc::replica::test::allocations.fetch_add(1, std::memory_order_relaxed);
  void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
// NOLINTEND

namespace esc::replica::test {
namespace {

TEST(Group, steady_state_allocates_nothing) {
  GroupOptions options = small_options();
  options.wal = wal::Options{};
  options.wal.directory = "/wal";
  options.checkpoint_bytes = kGiB;
  options.checkpoint_interval = 3600 * kSecond;
  World world(10, options, 2 * kMiB);
  world.partition_segment_bytes = 256 * kMiB;
  world.open_and_lead();
  std::array<Partition*, 4> partitions{};
  for (std::uint32_t i = 0; i < partitions.size(); ++i) {
    world.create(PartitionId(i + 1));
    partitions[i] = world.group->find(PartitionId(i + 1));
  }
  const Bytes batch = world.make_batch(2, 500);
  Bytes into(64 * kKiB);
  Group& group = *world.group;
  struct Counter : CommitWaiter {
    int commits = 0;
  } waiter;
  waiter.done = [](CommitWaiter& self, Errc) { ++static_cast<Counter&>(self).commits; };
  const auto run = [&](int appends) {
    for (int i = 0; i < appends;) {
      {
        const CountAllocations on(true);
        Partition& partition = *partitions[static_cast<std::size_t>(i) % partitions.size()];
        if (const auto appended = group.append_batch(partition, batch)) {
          ++i;
          if (!waiter.linked()) {
            waiter.index = appended->index;
            group.wait_committed(waiter);
          }
        }
        group.do_work(world.clock.now());
        const Offset from(std::max<std::int64_t>(0, partition.high_watermark().value() - 10));
        (void)group.read_tail(partition, from, into);
      }
      world.disk.count_completions = true;
      world.step();
      world.disk.count_completions = false;
    }
  };
  run(3000);  // the ring wraps, files are open
  const int commits = waiter.commits;
  const std::uint64_t segment_writes = group.stats().segment_writes;
  allocations = 0;
  run(5000);
  EXPECT_EQ(allocations.load(), 0u);
  EXPECT_GT(waiter.commits - commits, 100);
  EXPECT_GT(group.stats().segment_writes - segment_writes, 10u);
  EXPECT_EQ(group.stats().checkpoints, 0u);
  if (waiter.linked()) waiter.unlink();
}

// Written all at once, a third of the ring would stand before every durable write.
TEST(Group, segment_writes_keep_pace_with_what_comes_in) {
  GroupOptions options = small_options();
  options.wal = wal::Options{};
  options.wal.directory = "/wal";
  options.checkpoint_bytes = kGiB;
  options.checkpoint_interval = 3600 * kSecond;
  World world(11, options, 8 * kMiB);
  world.partition_segment_bytes = 256 * kMiB;
  world.open_and_lead();
  constexpr std::uint32_t kPartitions = 16;
  for (std::uint32_t i = 1; i <= kPartitions; ++i) world.create(PartitionId(i));
  const Bytes batch = world.make_batch(2, 6000);
  Group& group = *world.group;
  std::uint64_t largest = 0;
  for (std::uint32_t i = 0; i < 4000;) {
    if (group.append_batch(*group.find(PartitionId(i % kPartitions + 1)), batch)) ++i;
    const std::uint64_t before = group.stats().segment_writes;
    group.do_work(world.clock.now());
    largest = std::max(largest, group.stats().segment_writes - before);
    world.step();
  }
  EXPECT_GT(group.stats().segment_writes, 2 * kPartitions);
  EXPECT_LE(largest, kPartitions / 2) << "partitions in one burst";
}

}  // namespace
}  // namespace esc::replica::test
