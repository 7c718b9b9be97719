#include "scenario.h"

#include <fmt/format.h>

#include <algorithm>

#include "esc/base/prng.h"

namespace esc::escsim {
namespace {

constexpr std::int64_t kBatchesPerSecond = 100;  // of all producers together
constexpr Nanos kDiskMaxWithSmallSegments = 20 * kMillisecond;

// A fault class takes part in about half of the seeds.
Nanos maybe_every(Prng& prng, Nanos low, Nanos high) {
  const bool on = prng.chance(1, 2);
  const Nanos every = prng.between(low, high);
  return on ? every : 0;
}

void choose_sizes(Scenario& s, Prng& prng) {
  s.cores = prng.chance(1, 3) ? 2 : 1;
  s.groups = static_cast<std::uint32_t>(prng.between(1, s.cores + 1));
  s.partitions = static_cast<std::int32_t>(prng.between(1, 4));
  s.producers = static_cast<std::uint32_t>(prng.between(1, 3));
  s.frame_bytes_max = prng.chance(1, 2) ? 32 * 1024 : 16 * 1024;
  s.frame_arena_bytes =
      std::uint64_t{s.frame_bytes_max} * static_cast<std::uint64_t>(prng.between(8, 16)) * s.groups;
  s.wal_segment_bytes = std::uint64_t{64 * 1024} << prng.below(2);
  s.wal_depth = static_cast<std::uint32_t>(prng.between(1, 3));
  s.segment_bytes = std::uint64_t{16 * 1024} << prng.below(3);
  s.checkpoint_interval = prng.between(100, 2000) * kMillisecond;
  s.checkpoint_bytes = std::uint64_t{32 * 1024} << prng.below(4);
  s.retain_bytes = std::uint64_t{16 * 1024} << prng.below(6);
  s.rebalance_after = prng.chance(1, 2) ? prng.between(200, 3000) * kMillisecond : 0;
  // Slower, and what a run produces does not get to a node with a blank disk before the run must end.
  s.recovery_bytes_per_second = std::max(std::uint64_t{512 * kKiB} << prng.below(6), 2 * kMiB);
  s.batch_events_max = static_cast<std::uint32_t>(prng.between(1, 32));
  s.batch_delay = prng.between(0, 2) * kMillisecond;
  s.in_flight = static_cast<std::uint32_t>(prng.between(1, 5));
  s.batch_records_max = static_cast<std::uint32_t>(prng.between(1, 6));
  s.record_bytes_max = static_cast<std::uint32_t>(prng.between(32, 1200));
  s.think_max = prng.between(2, 60) * kMillisecond;
}

void choose_timing(Scenario& s, Prng& prng) {
  s.network.latency_max = prng.between(30, 2000) * kMicrosecond;
  s.network.slow_one_in = prng.chance(1, 2) ? static_cast<std::uint32_t>(prng.between(20, 500)) : 0;
  s.network.slow_max = prng.between(5, 120) * kMillisecond;
  s.network.split_one_in = prng.chance(1, 2) ? 3 : 0;
  s.loop.disk.max = prng.between(100, 3000) * kMicrosecond;
  s.loop.gap_one_in = prng.chance(1, 3) ? 2000 : 0;
  s.loop.gap_max = prng.between(1, 40) * kMillisecond;
  if (prng.chance(1, 2)) {
    s.clock_offset_max = 3600 * kSecond;
    s.drift_ppm_max = 500;
  }
}

// Leaders that change all the time, with tails that are not committed yet: what the rules of elections and
// truncation are for.
void choose_ambush(Scenario& s, Prng prng) {
  if (s.nodes < 3 || prng.chance(1, 2)) return;
  s.ambush_one_in = static_cast<std::uint32_t>(prng.between(1, 3));
  s.ambush_delay_max = prng.between(1, prng.chance(1, 2) ? 10 : 150) * kMillisecond;
  s.chaos_time = prng.between(4, 8) * kSecond;
  s.stall_every = prng.chance(1, 2) ? prng.between(300, 1500) * kMillisecond : s.stall_every;
  s.think_max = prng.between(1, 15) * kMillisecond;
  if (prng.chance(1, 3)) s.loop.disk.max = prng.between(5, 60) * kMillisecond;
  // The rest of the faults is rarer, so that elections come to their end.
  for (Nanos* every : {&s.crash_every, &s.power_every, &s.stop_every, &s.pause_every, &s.partition_every,
                       &s.reset_every, &s.fuse_every})
    *every = prng.chance(1, 2) ? 0 : *every * 3;
}

// Disks that are lost for good, one at a time.
void choose_replacements(Scenario& s, Prng prng) {
  if (s.nodes < 3 || prng.chance(1, 2)) return;
  s.replace_every = prng.between(300, 2500) * kMillisecond;
  s.chaos_time = std::max(s.chaos_time, prng.between(3, 7) * kSecond);
}

// Bits that flip in the files of one node at a time.
Nanos choose_rot(const Scenario& s, Prng prng) {
  return s.nodes < 3 || prng.chance(1, 2) ? 0 : prng.between(300, 2500) * kMillisecond;
}

// Never with disks that are lost: of two voters the loss of one is the loss of a majority.
bool choose_operator(const Scenario& s, Prng prng) {
  return s.nodes >= 3 && s.replace_every == 0 && s.rot_every == 0 && prng.chance(1, 2);
}

// A machine that is out of the cluster may be given back empty.
Nanos choose_renewals(const Scenario& s, Prng prng) {
  return s.nodes_change && prng.chance(1, 2) ? prng.between(100, 800) * kMillisecond : 0;
}

// As bit flips: what cannot be read is as good as lost.
Nanos choose_unreadable(const Scenario& s, Prng prng) {
  return s.nodes < 3 || s.nodes_change || prng.chance(2, 3) ? 0 : prng.between(300, 2500) * kMillisecond;
}

// A third of the seeds have a consumer group, so that the others stay as dense as they were.
std::uint32_t choose_members(Prng prng) {
  return prng.chance(1, 3) ? static_cast<std::uint32_t>(prng.between(2, 4)) : 0;
}

// None, all or some: the more, the later a lost answer is made up for.
void choose_idempotence(Scenario& s, Prng prng) {
  const std::uint64_t draw = prng.below(3);
  s.idempotent_producers = draw == 0   ? 0
                           : draw == 1 ? s.producers
                                       : static_cast<std::uint32_t>(prng.below(s.producers + 1));
}

// In a third of the seeds the topic drops duplicates, and who is not idempotent sends events again.
void choose_events(Scenario& s, Prng prng) {
  s.event_producers = prng.chance(1, 3) ? s.producers - s.idempotent_producers : 0;
}

// Half of all work was done for a fifth of the seeds, those with producers that never rest, and what they met
// in their eighth second others meet in their first: more seeds find more. A few stay as busy as they were
// drawn.
void bound_work(Scenario& s, Prng prng) {
  if (prng.chance(1, 16)) return;
  s.think_max = std::max(s.think_max, 2 * s.producers * kSecond / kBatchesPerSecond);
  s.chaos_time /= 2;
}

}  // namespace

Scenario make_scenario(std::uint64_t seed, std::uint32_t nodes, Age age) {
  const bool plain = age == Age::plain;
  const bool sound = age == Age::sound;
  Prng prng = Prng(seed).fork(1);
  Scenario s;
  const std::uint64_t draw = prng.below(16);
  const std::uint32_t drawn = draw == 0 ? 1 : draw == 1 ? 5 : 3;
  s.nodes = nodes == 0 ? drawn : nodes;
  choose_sizes(s, prng);
  choose_timing(s, prng);
  s.crash_every = maybe_every(prng, 300 * kMillisecond, 2 * kSecond);
  s.power_every = maybe_every(prng, 300 * kMillisecond, 2 * kSecond);
  s.stop_every = maybe_every(prng, kSecond, 4 * kSecond);
  s.pause_every = maybe_every(prng, 300 * kMillisecond, 3 * kSecond);
  s.partition_every = maybe_every(prng, 300 * kMillisecond, 3 * kSecond);
  s.reset_every = maybe_every(prng, 100 * kMillisecond, 2 * kSecond);
  s.stall_every = maybe_every(prng, 300 * kMillisecond, 3 * kSecond);
  s.eio_every = maybe_every(prng, 2 * kSecond, 6 * kSecond);
  s.full_every = maybe_every(prng, 2 * kSecond, 6 * kSecond);
  s.rot_every = maybe_every(prng, 2 * kSecond, 6 * kSecond);
  s.wall_every = maybe_every(prng, kSecond, 3 * kSecond);
  s.fuse_every = maybe_every(prng, kSecond, 4 * kSecond);
  s.chaos_time = prng.between(1500, 5000) * kMillisecond;
  // Now and then more than a minority: nothing is acknowledged then, and nothing may be lost.
  s.down_max = prng.chance(1, 4) ? s.nodes : (s.nodes - 1) / 2;
  if (s.nodes == 1) s.down_max = 1;
  if (!plain) choose_ambush(s, Prng(seed).fork(7));
  if (!plain) choose_replacements(s, Prng(seed).fork(11));
  if (!plain) s.group_members = choose_members(Prng(seed).fork(8));
  if (!plain) choose_idempotence(s, Prng(seed).fork(9));
  if (!plain) choose_events(s, Prng(seed).fork(10));
  s.rot_every = plain ? 0 : choose_rot(s, Prng(seed).fork(12));
  if (sound) s.rot_every = 0;
  if (plain || sound) return s;
  s.nodes_change = choose_operator(s, Prng(seed).fork(13));
  bound_work(s, Prng(seed).fork(14));
  if (age == Age::steady) return s;
  s.topic_changes = Prng(seed).fork(15).chance(1, 4);
  s.renew_every = choose_renewals(s, Prng(seed).fork(16));
  s.lag_watcher = s.group_members > 0 && Prng(seed).fork(20).chance(1, 2);
  if (age == Age::fixed) return s;
  s.unreadable_every = choose_unreadable(s, Prng(seed).fork(21));
  s.rule_changes = Prng(seed).fork(22).chance(1, 3);
  // Small segments under producers that never rest, or on disks where each file takes its time: who needs a
  // snapshot would not catch up before the run must end.
  if (s.rule_changes) {
    s.think_max = std::max(s.think_max, 2 * s.producers * kSecond / kBatchesPerSecond);
    s.loop.disk.max = std::min(s.loop.disk.max, kDiskMaxWithSmallSegments);
  }
  if (age == Age::narrow) return s;
  s.wide_requests = true;
  return s;
}

std::string Scenario::describe() const {
  const auto ms = [](Nanos time) { return time / kMillisecond; };
  return fmt::format(
      "nodes={} cores={} groups={} partitions={} producers={} idempotent={} events={} members={} watcher={} "
      "frame={} "
      "wal_segment={} "
      "depth={} segment={} "
      "checkpoint={}ms/{} retain={} rebalance={}ms batch={}/{}ms latency_max={}us slow=1/{}:{}ms "
      "disk_max={}us gap=1/{} drift={}ppm "
      "chaos={}ms | every ms: crash={} power={} stop={} pause={} partition={} reset={} stall={} eio={} "
      "full={} "
      "rot={} wall={} fuse={} replace={} down_max={} ambush=1/{}:{}ms operator={} renew={} topics={} "
      "rules={} unreadable={} wide={}",
      nodes, cores, groups, partitions, producers, idempotent_producers, event_producers, group_members,
      lag_watcher, frame_bytes_max, wal_segment_bytes, wal_depth, segment_bytes, ms(checkpoint_interval),
      checkpoint_bytes, retain_bytes, ms(rebalance_after), batch_events_max, ms(batch_delay),
      network.latency_max / kMicrosecond, network.slow_one_in, ms(network.slow_max),
      loop.disk.max / kMicrosecond, loop.gap_one_in, drift_ppm_max, ms(chaos_time), ms(crash_every),
      ms(power_every), ms(stop_every), ms(pause_every), ms(partition_every), ms(reset_every), ms(stall_every),
      ms(eio_every), ms(full_every), ms(rot_every), ms(wall_every), ms(fuse_every), ms(replace_every),
      down_max, ambush_one_in, ms(ambush_delay_max), nodes_change, ms(renew_every), topic_changes,
      rule_changes, ms(unreadable_every), wide_requests);
}

}  // namespace esc::escsim
