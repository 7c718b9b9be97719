// A compacted log against the list of records that were put into it, under random appends, compactions with
// little memory, cancellations, readers in the middle, retention, checkpoints, full disks and crashes at any
// step, on the simulated disk.
#include <algorithm>
#include <memory>
#include <set>

#include "esc/sim/disk.h"
#include "keyed.h"

namespace esc::store::testing {
namespace {

constexpr const char* kDirectory = "/data/g0/p7";

class CompactedTwin {
 public:
  explicit CompactedTwin(std::uint64_t seed)
      : prng_(seed), file_system_(prng_.fork(1)), files_(file_system_), keys_(1 + prng_.below(60)) {
    options_.segment_bytes = 1000 + prng_.below(8000);
    options_.index_interval_bytes = static_cast<std::uint32_t>(200 + prng_.below(1000));
    rules_.dirty_permille = static_cast<std::uint32_t>(prng_.below(600));
    rules_.delete_retention_ms = static_cast<std::int64_t>(prng_.below(2000));
    memory_ = prng_.chance(1, 2) ? 24 * (1 + prng_.below(100)) : kMiB;
    EXPECT_TRUE(files_.make_directories("/data/g0"));
    start();
    log_ = PartitionLog::create(*disk_, kDirectory, options_);
  }

  void run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      now_ms_ += static_cast<WallMs>(prng_.below(100));
      const auto what = prng_.below(100);
      if (what < 40) {
        append();
      } else if (what < 60) {
        compact();
      } else if (what < 62) {
        log_->cancel_compaction();
      } else if (what < 75) {
        checkpoint();
      } else if (what < 79) {
        drop();
      } else if (what < 83) {
        full_disk();
      } else if (what < 86) {
        settle();
        read_all();
      } else if (what < 88) {
        crash();
      }
      for (auto n = prng_.below(20); n > 0; --n) {
        if (!clock_->step()) log_->continue_compaction();
      }
    }
    finish();
  }
  static inline std::uint64_t compactions = 0;
  static inline std::uint64_t removed = 0;

 private:
  void start() {
    clock_ = std::make_unique<sim::SimClock>();
    disk_ = std::make_unique<sim::SimDisk>(*clock_, file_system_, prng_.fork(prng_.next()));
    resources_ = Resources::create(*disk_, &files_,
                                   {.open_files_max = static_cast<std::uint32_t>(1 + prng_.below(6)),
                                    .appends_max = 1,
                                    .opens_max = 2,
                                    .read_positions = 16});
    options_.resources = resources_.get();
  }
  void settle() {
    while (clock_->step() || compacting_) log_->continue_compaction();
    EXPECT_TRUE(log_->idle());
  }

  // Batch i is always the same: a function of the Raft log.
  const TestBatch& batch(std::size_t i) {
    while (wal_.size() <= i) {
      Prng prng(seed_of_records_ + wal_.size());
      std::vector<KeyedRecord> records(1 + prng.below(6));
      for (auto& record : records) {
        if (!prng.chance(1, 50)) record.key = "k" + std::to_string(prng.below(keys_));
        if (!prng.chance(1, 4))
          record.value = std::string(prng.below(200), 'v') + std::to_string(prng.next());
        record.timestamp = 1'000'000 + static_cast<WallMs>(wal_.size()) + prng.between(-20, 20);
      }
      const Offset base = wal_.empty() ? Offset(0) : wal_.back().last_offset.next();
      wal_.push_back(make_keyed_batch(base, records, static_cast<wire::Codec>(prng.below(5))));
      records_.insert(records_.end(), records.begin(), records.end());
    }
    return wal_[i];
  }
  void append() {
    if (appending_) return;
    const std::size_t count = prng_.chance(1, 5) ? 1 + prng_.below(40) : 1 + prng_.below(4);
    (void)batch(applied_ + count);
    refs_.clear();
    for (std::size_t i = applied_; i < applied_ + count; ++i) refs_.push_back(batch(i).ref());
    appending_ = true;
    append_op_ = {};
    append_op_.batches = refs_;
    append_op_.context = this;
    append_op_.done = [](AppendOp& op, Errc error) {
      auto& twin = *static_cast<CompactedTwin*>(op.context);
      twin.appending_ = false;
      if (error == Errc::ok) {
        twin.applied_ += op.batches.size();
      } else {
        EXPECT_EQ(error, Errc::no_space) << twin.log_->last_error();
      }
    };
    log_->append(append_op_);
  }

  void compact() {
    if (compacting_ || !log_->compaction_due(rules_, now_ms_)) return;
    compacting_ = true;
    compact_op_ = {};
    compact_op_.rules = rules_;
    compact_op_.now_ms = now_ms_;
    compact_op_.memory_bytes = memory_;
    compact_op_.slice_bytes = static_cast<std::uint32_t>(61 + prng_.below(4000));
    compact_op_.slice = [](CompactOp&, std::uint64_t) {};
    compact_op_.context = this;
    compact_op_.done = [](CompactOp& op, Errc error) {
      auto& twin = *static_cast<CompactedTwin*>(op.context);
      twin.compacting_ = false;
      EXPECT_TRUE(error == Errc::ok || error == Errc::closed || error == Errc::no_space)
          << twin.log_->last_error();
      if (error != Errc::ok) return;
      ++compactions;
      removed += op.result.records_removed;
    };
    log_->compact(compact_op_);
  }

  void checkpoint() {
    if (syncing_) return;
    syncing_ = true;
    log_->snapshot(pending_state_);
    pending_applied_ = applied_;
    sync_op_ = {};
    sync_op_.context = this;
    sync_op_.done = [](SyncOp& op, Errc error) {
      auto& twin = *static_cast<CompactedTwin*>(op.context);
      twin.syncing_ = false;
      EXPECT_EQ(error, Errc::ok) << twin.log_->last_error();
      twin.durable_state_ = twin.pending_state_;
      twin.durable_applied_ = twin.pending_applied_;
      twin.log_->release_removed();
    };
    log_->sync(sync_op_);
  }
  void drop() {
    if (!prng_.chance(1, 3)) return;
    const Offset start = log_->log_start_offset();
    log_->set_log_start(
        Offset(prng_.between(start.value(), std::min(start.value() + 60, log_->next_offset().value()))));
  }
  void full_disk() {
    if (file_system_.used_bytes() == 0 || prng_.chance(2, 3)) {
      file_system_.set_capacity(UINT64_MAX);
    } else {
      file_system_.set_capacity(file_system_.used_bytes() + prng_.below(5000));
    }
  }
  void crash() {
    disk_->crash(prng_.chance(2, 3) ? sim::CrashKind::power : sim::CrashKind::process);
    appending_ = compacting_ = syncing_ = false;
    log_.reset();
    resources_.reset();
    disk_.reset();
    file_system_.set_capacity(UINT64_MAX);
    start();
    auto opened = PartitionLog::open(files_, *disk_, kDirectory, options_, durable_state_);
    ASSERT_TRUE(opened) << opened.error().message;
    log_ = std::move(*opened);
    applied_ = durable_applied_;
    EXPECT_EQ(log_->next_offset(), durable_state_.next_offset);
    EXPECT_TRUE(log_->notes().empty()) << log_->notes().front();
    read_all();
  }

  // Nothing else runs.
  void read_all() {
    std::vector<KeyedRecord> found;
    Offset from = log_->log_start_offset();
    std::vector<std::byte> buffer(64 * kKiB);
    while (from < log_->next_offset()) {
      ReadOp op;
      op.offset = from;
      op.buffer = buffer;
      std::pair<bool, Errc> outcome{false, Errc::ok};
      op.context = &outcome;
      op.done = [](ReadOp& done, Errc error) {
        *static_cast<std::pair<bool, Errc>*>(done.context) = {true, error};
      };
      log_->read(op);
      while (!outcome.first && clock_->step()) {
      }
      ASSERT_TRUE(outcome.first);
      ASSERT_EQ(outcome.second, Errc::ok) << log_->last_error();
      ASSERT_FALSE(op.bytes.empty());
      for (auto& record : records_of(op.bytes)) {
        if (record.offset >= from) found.push_back(std::move(record));
      }
      wire::BatchIterator iterator(op.bytes);
      while (const auto read = iterator.next()) from = Offset(read->next_offset());
    }
    check(found);
  }
  void check(const std::vector<KeyedRecord>& found) {
    PartitionState now;
    log_->snapshot(now);
    const auto start = static_cast<std::size_t>(log_->log_start_offset().value());
    const auto end = static_cast<std::size_t>(log_->next_offset().value());
    std::set<std::int64_t> there;
    std::map<std::string, KeyedRecord> newest_found;
    std::set<std::string> once;
    for (const KeyedRecord& record : found) {
      ASSERT_EQ(record, records_[static_cast<std::size_t>(record.offset.value())]);
      there.insert(record.offset.value());
      if (!record.key) continue;
      newest_found[*record.key] = record;
      if (record.offset >= now.compacted_until) continue;
      EXPECT_TRUE(once.insert(*record.key).second) << *record.key << " twice in the compacted part";
    }
    std::map<std::string, KeyedRecord> newest;
    for (std::size_t i = start; i < end; ++i) {
      const KeyedRecord& record = records_[i];
      const bool compacted = record.offset < now.compacted_until;
      if (!record.key || !compacted) {
        EXPECT_TRUE(there.contains(record.offset.value())) << record.offset.value();
      }
      if (record.key) newest[*record.key] = record;
    }
    for (const auto& [key, record] : newest) {
      const auto seen = newest_found.find(key);
      if (record.value.has_value()) {
        EXPECT_TRUE(seen != newest_found.end() && seen->second == record) << key << " has lost its value";
      } else {
        EXPECT_TRUE(seen == newest_found.end() || seen->second == record) << key << " has come back";
      }
    }
  }

  void finish() {
    file_system_.set_capacity(UINT64_MAX);
    settle();
    for (int i = 0; i < 200 && log_->compaction_due(rules_, now_ms_); ++i) {
      compact();
      settle();
    }
    read_all();
    for (int i = 0; i < 3; ++i) {
      checkpoint();
      settle();
    }
    // No file is left that nothing explains.
    PartitionState now;
    log_->snapshot(now);
    std::set<std::string> explained;
    for (const auto& segment : now.segments) {
      char name[64];
      const auto base = static_cast<long long>(segment.base_offset.value());
      if (segment.generation == 0) {
        std::snprintf(name, sizeof name, "%020lld", base);
      } else {
        std::snprintf(name, sizeof name, "%020lld.%u", base, segment.generation);
      }
      explained.insert(std::string(name) + ".log");
      explained.insert(std::string(name) + ".index");
    }
    const auto entries = files_.list(kDirectory);
    if (!entries || now.segments.empty()) return;
    for (const auto& entry : *entries) {
      // Segments of an earlier life beyond the end wait to be written again.
      if (!entry.name.contains('.') || entry.name > *explained.rbegin()) continue;
      EXPECT_TRUE(explained.contains(entry.name)) << entry.name;
    }
  }

  Prng prng_;
  sim::FileSystem file_system_;
  sim::SimFiles files_;
  const std::uint64_t keys_;
  const std::uint64_t seed_of_records_ = prng_.next();
  std::unique_ptr<sim::SimClock> clock_;
  std::unique_ptr<sim::SimDisk> disk_;
  std::unique_ptr<Resources> resources_;
  Options options_;
  CompactionRules rules_;
  std::uint64_t memory_ = 0;
  WallMs now_ms_ = 2'000'000;
  std::unique_ptr<PartitionLog> log_;
  std::deque<TestBatch> wal_;
  std::vector<KeyedRecord> records_;  // by offset
  std::size_t applied_ = 0;           // batches in the log
  AppendOp append_op_;
  bool appending_ = false;
  std::vector<BatchRef> refs_;
  CompactOp compact_op_;
  bool compacting_ = false;
  SyncOp sync_op_;
  bool syncing_ = false;
  PartitionState pending_state_, durable_state_;
  std::size_t pending_applied_ = 0, durable_applied_ = 0;
};

TEST(CompactedTwinTest, the_newest_record_of_each_key_is_there_through_everything) {
  if (!for_each_seed(40, [](std::uint64_t seed) { CompactedTwin(seed).run(500); })) return;
  EXPECT_GT(CompactedTwin::compactions, 200U);
  EXPECT_GT(CompactedTwin::removed, 5000U);
}

}  // namespace
}  // namespace esc::store::testing
