// Three members that compact a partition, each on its own, while nodes lose power, stay away for long and
// lose their disks: the newest value of each key is on every node in the end, and nothing that was deleted is
// back.
#include <map>
#include <optional>
#include <set>

#include "../store/keyed.h"
#include "cluster_world.h"

namespace esc::replica::test {
namespace {

using store::testing::KeyedRecord;

constexpr PartitionId kPartition{1};

class CompactedCluster {
 public:
  explicit CompactedCluster(std::uint64_t seed) : world_(3, seed), prng_(seed) {
    for (const auto& node : world_.nodes) {
      node->options.retention_interval = 50 * kMillisecond;
      node->options.compaction_memory_bytes = prng_.chance(1, 2) ? 24 * 40 : kMiB;
      node->options.compaction_bytes_per_second = 4 * kMiB;
    }
    rules_.delete_retention_ms = static_cast<std::int64_t>(prng_.below(300));
    rules_.dirty_permille = static_cast<std::uint32_t>(prng_.below(300));
  }

  void run(int steps) {
    world_.boot_all();
    ASSERT_NE(world_.wait_for_leader(), nullptr);
    ASSERT_TRUE(world_.leader()->group->create_partition(
        {.id = kPartition, .topic = "table", .segment_bytes = 4 * kKiB}));
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      tell_rules();
      const auto what = prng_.below(100);
      if (what < 85) {
        append();
      } else if (what < 90) {
        world_.run_for(static_cast<Nanos>(prng_.below(1000)) * kMillisecond);
      } else if (what < 95) {
        stop_one();
      } else {
        start_all();
      }
    }
    finish();
  }
  std::uint64_t passes = 0;
  static inline std::uint64_t removed = 0;

 private:
  void tell_rules() {
    for (const auto& node : world_.nodes) {
      Partition* const partition = node->running() ? node->group->find(kPartition) : nullptr;
      if (partition != nullptr) partition->set_compaction(rules_);
    }
  }
  void append() {
    ClusterNode* const leader = world_.wait_for_leader();
    ASSERT_NE(leader, nullptr);
    Partition* const partition = leader->group->find(kPartition);
    if (partition == nullptr) return world_.run_for(50 * kMillisecond);
    std::vector<KeyedRecord> records(1 + prng_.below(8));
    for (auto& record : records) {
      record.key = "k" + std::to_string(prng_.below(25));
      record.timestamp = 1'000'000 + ++serial_;
      if (!prng_.chance(1, 3)) record.value = std::to_string(serial_) + std::string(prng_.below(150), 'v');
    }
    const auto batch =
        store::testing::make_keyed_batch(Offset(0), records, static_cast<wire::Codec>(prng_.below(5)), -1);
    const auto appended = leader->group->append_batch(*partition, batch.bytes);
    if (!appended) return world_.run_for(20 * kMillisecond);
    const Errc code = leader->group->leading() ? world_.commit_one(*leader, 20 * kSecond) : Errc::not_leader;
    for (const auto& record : records) {
      auto& allowed = newest_[*record.key];
      if (code == Errc::ok) allowed.clear();
      allowed.insert(record.value);
    }
  }
  void stop_one() {
    for (const auto& node : world_.nodes) {
      if (!node->running()) return;  // one at a time
    }
    ClusterNode& node = world_.node(1 + static_cast<std::uint32_t>(prng_.below(3)));
    count(node);
    if (prng_.chance(1, 5) && world_.whole()) return world_.replace_disk(node.number);
    node.crash();
  }
  void count(const ClusterNode& node) {
    passes += node.group->stats().compaction.passes;
    removed += node.group->stats().compaction.records_removed;
  }
  void start_all() {
    for (const auto& node : world_.nodes) {
      if (!node->running()) world_.boot(node->number);
    }
    (void)world_.run_until([&] { return world_.whole() && level(); }, 20 * kSecond);
    for (const auto& node : world_.nodes) EXPECT_EQ(node->failure, "");
  }
  // All members have everything, in their files.
  bool level() {
    Partition* const led = world_.leader() == nullptr ? nullptr : world_.leader()->group->find(kPartition);
    return led != nullptr && std::ranges::all_of(world_.nodes, [&](const auto& node) {
             Partition* const partition = node->running() ? node->group->find(kPartition) : nullptr;
             return partition != nullptr && partition->log().next_offset() == led->high_watermark();
           });
  }
  std::vector<KeyedRecord> read(ClusterNode& node) {
    store::PartitionLog& log = node.group->find(kPartition)->log();
    std::vector<KeyedRecord> found;
    std::vector<std::byte> buffer(64 * kKiB);
    for (Offset from = log.log_start_offset(); from < log.next_offset();) {
      store::ReadOp op;
      std::optional<Errc> outcome;
      op.offset = from;
      op.buffer = buffer;
      op.context = &outcome;
      op.done = [](store::ReadOp& done, Errc code) {
        *static_cast<std::optional<Errc>*>(done.context) = code;
      };
      log.read(op);
      EXPECT_TRUE(world_.run_until([&] { return outcome.has_value(); }));
      EXPECT_EQ(outcome, Errc::ok) << log.last_error();
      if (outcome != Errc::ok || op.bytes.empty()) return found;
      for (auto& record : store::testing::records_of(op.bytes)) found.push_back(std::move(record));
      wire::BatchIterator iterator(op.bytes);
      while (const auto batch = iterator.next()) from = Offset(batch->next_offset());
    }
    return found;
  }
  void finish() {
    start_all();
    ASSERT_TRUE(world_.run_until([&] { return world_.whole() && level(); }, 60 * kSecond));
    tell_rules();
    world_.run_for(2 * kSecond);
    std::map<Offset, KeyedRecord> everything;
    for (const auto& node : world_.nodes) {
      SCOPED_TRACE("node " + std::to_string(node->number));
      count(*node);
      std::map<std::string, KeyedRecord> last;
      for (const KeyedRecord& record : read(*node)) {
        EXPECT_EQ(everything.try_emplace(record.offset, record).first->second, record);
        last[*record.key] = record;
      }
      for (const auto& [key, allowed] : newest_) {
        const auto seen = last.find(key);
        const std::optional<std::string> value = seen == last.end() ? std::nullopt : seen->second.value;
        EXPECT_TRUE(allowed.contains(value)) << key << " is " << value.value_or("deleted");
      }
    }
  }

  ClusterWorld world_;
  Prng prng_;
  store::CompactionRules rules_;
  std::int64_t serial_ = 0;
  // The value that was acknowledged last, and those after it whose fate is unknown.
  std::map<std::string, std::set<std::optional<std::string>>> newest_;
};

TEST(CompactedCluster, every_member_ends_with_the_newest_value_of_each_key) {
  const char* chosen = std::getenv("ESC_SEED");
  const std::uint64_t first = chosen != nullptr ? std::strtoull(chosen, nullptr, 10) : 1;
  const std::uint64_t last = chosen != nullptr ? first : 12;
  std::uint64_t passes = 0;
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    SCOPED_TRACE("ESC_SEED=" + std::to_string(seed));
    CompactedCluster cluster(seed);
    cluster.run(400);
    passes += cluster.passes;
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_GT(passes, 20 * (last - first + 1));
  EXPECT_GT(CompactedCluster::removed, 1000 * (last - first + 1));
}

}  // namespace
}  // namespace esc::replica::test
