// The log against a dumb version of itself (a vector of batches), under random appends, reads, time
// lookups, retention, checkpoints, other rules of rolling, full disks, clean restarts and crashes, on the
// simulated disk.
#include <algorithm>
#include <memory>
#include <set>

#include "esc/sim/disk.h"
#include "fixture.h"

namespace esc::store::testing {
namespace {

constexpr const char* kDirectory = "/data/g0/p7";

class Twin {
 public:
  explicit Twin(std::uint64_t seed)
      : seed_(seed), prng_(seed), file_system_(prng_.fork(1)), files_(file_system_) {
    options_.segment_bytes = 2000 + prng_.below(30'000);
    options_.index_interval_bytes = static_cast<std::uint32_t>(200 + prng_.below(3000));
    options_.write_back_bytes = 4096;
    EXPECT_TRUE(files_.make_directories("/data/g0"));
    start();
    log_ = PartitionLog::create(*disk_, kDirectory, options_);
  }

  void run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      switch (prng_.below(20)) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4:
        case 5:
        case 6: append(); break;
        case 7:
        case 8:
        case 9:
        case 10:
        case 11: start_read(); break;
        case 12:
        case 13: start_time(); break;
        case 14: drop(); break;
        case 15:
        case 16: checkpoint(); break;
        case 17: full_disk(); break;
        case 18:
          if (prng_.chance(1, 4)) restart();
          break;
        default:
          if (prng_.chance(1, 4)) crash();
          break;
      }
      for (auto n = prng_.below(8); n > 0; --n) (void)clock_->step();
    }
    settle();
    compare_files();
  }

 private:
  struct Reading {
    ReadOp op;
    std::vector<std::byte> buffer;
    Twin* twin = nullptr;
    Offset end_at_start;
    bool done = false;
  };
  struct Timing {
    TimeOp op;
    std::vector<std::byte> buffer;
    Twin* twin = nullptr;
    Offset start_at_start;
    Offset end_at_start;
    bool done = false;
  };

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
    while (clock_->step()) {
    }
    EXPECT_TRUE(log_->idle());
    EXPECT_EQ(append_outcome_.pending, false);
    reap();
  }
  void reap() {
    std::erase_if(readings_, [](const auto& r) { return r->done; });
    std::erase_if(timings_, [](const auto& t) { return t->done; });
  }

  // Batch number i of the partition is always the same: a function of the Raft log.
  const TestBatch& batch(std::size_t i) {
    while (wal_.size() <= i) {
      Prng prng(77 + wal_.size());
      std::vector<WallMs> times(1 + prng.below(6));
      for (auto& time : times)
        time = 1'000'000 + 50 * static_cast<WallMs>(wal_.size()) + prng.between(-300, 300);
      const Offset base = wal_.empty() ? Offset(0) : wal_.back().last_offset.next();
      const std::size_t value = prng.chance(1, 30) ? prng.below(9000) : prng.below(300);
      wal_.push_back(make_batch(base, times, value, 5, static_cast<std::int32_t>(wal_.size() / 100)));
    }
    return wal_[i];
  }
  // So are the rules that it was rolled by.
  RollRules rules_of(std::size_t i) {
    Prng prng(seed_ + i / kBatchesPerRule);
    const std::int64_t ms = prng.chance(1, 2) ? prng.between(0, 2000) : -1;
    return {.bytes = 2000 + prng.below(30'000), .ms = ms};
  }
  std::size_t batch_at(Offset offset) {
    const auto found =
        std::find_if(wal_.begin(), wal_.end(), [&](const auto& b) { return b.last_offset >= offset; });
    return static_cast<std::size_t>(found - wal_.begin());
  }

  void append() {
    if (append_outcome_.pending) return;
    const std::size_t first = applied_;
    const std::size_t count = prng_.chance(1, 10) ? 1 + prng_.below(100) : 1 + prng_.below(5);
    (void)batch(first + count);  // stable addresses for the references below
    refs_.clear();
    for (std::size_t i = first; i < first + count; ++i) {
      refs_.push_back(batch(i).ref());
      if (i % kBatchesPerRule == 0) log_->set_rolling(batch(i).base_offset, rules_of(i));
    }
    append_outcome_ = {this, true, count};
    append_op_ = {};
    append_op_.batches = refs_;
    append_op_.context = &append_outcome_;
    append_op_.done = [](AppendOp& op, Errc error) {
      auto& outcome = *static_cast<AppendOutcome*>(op.context);
      outcome.pending = false;
      if (error == Errc::ok) {
        outcome.twin->applied_ += outcome.count;
      } else {
        EXPECT_EQ(error, Errc::no_space) << outcome.twin->log_->last_error();
      }
      EXPECT_EQ(outcome.twin->log_->next_offset(), outcome.twin->model_next());
    };
    log_->append(append_op_);
  }
  Offset model_next() { return applied_ == 0 ? Offset(0) : batch(applied_ - 1).last_offset.next(); }

  void start_read() {
    auto reading = std::make_unique<Reading>();
    Reading& r = *reading;
    r.twin = this;
    r.buffer.resize(prng_.chance(1, 4) ? 61 + prng_.below(400) : 61 + prng_.below(20'000));
    r.op.offset =
        Offset(prng_.between(log_->log_start_offset().value() - 1, log_->next_offset().value() + 1));
    r.op.buffer = r.buffer;
    r.op.context = &r;
    r.end_at_start = log_->next_offset();
    const bool inside = r.op.offset >= log_->log_start_offset() && r.op.offset <= log_->next_offset();
    r.op.done = [](ReadOp& op, Errc error) {
      auto& done = *static_cast<Reading*>(op.context);
      done.done = true;
      if (error == Errc::ok) {
        done.twin->check_read(done);
      } else {
        EXPECT_EQ(error, Errc::out_of_range) << done.twin->log_->last_error();
      }
    };
    readings_.push_back(std::move(reading));
    log_->read(r.op);
    EXPECT_TRUE(inside || r.done);
    reap();
  }
  void check_read(const Reading& r) {
    std::size_t i = batch_at(r.op.offset);
    if (r.op.bytes.empty()) {
      if (r.op.first_batch_bytes > 0) {
        EXPECT_EQ(r.op.first_batch_bytes, batch(i).bytes.size());
        EXPECT_GT(r.op.first_batch_bytes, r.buffer.size());
      } else {
        EXPECT_EQ(r.op.offset, r.end_at_start);
      }
      return;
    }
    std::size_t at = 0;
    for (; at < r.op.bytes.size(); ++i) {
      ASSERT_LT(i, applied_);
      const auto& expected = batch(i).bytes;
      ASSERT_LE(at + expected.size(), r.op.bytes.size());
      ASSERT_TRUE(
          std::equal(expected.begin(), expected.end(), r.op.bytes.begin() + static_cast<std::ptrdiff_t>(at)));
      at += expected.size();
    }
  }

  void start_time() {
    auto timing = std::make_unique<Timing>();
    Timing& t = *timing;
    t.twin = this;
    t.buffer.resize(kTimeScratchBytesMin + prng_.below(20'000));
    t.op.timestamp = 1'000'000 + prng_.between(-500, 50 * static_cast<std::int64_t>(applied_) + 500);
    t.op.scratch = t.buffer;
    t.op.context = &t;
    t.start_at_start = log_->log_start_offset();
    t.end_at_start = log_->next_offset();
    t.op.done = [](TimeOp& op, Errc error) {
      auto& done = *static_cast<Timing*>(op.context);
      done.done = true;
      EXPECT_EQ(error, Errc::ok) << done.twin->log_->last_error();
      done.twin->check_time(done);
    };
    timings_.push_back(std::move(timing));
    log_->find_time(t.op);
    reap();
  }
  // The first record at or after the time, were the log start at `from`; -1 when there is none.
  Offset naive_time(WallMs timestamp, Offset from, Offset end) {
    for (std::size_t i = batch_at(from); i < applied_; ++i) {
      for (std::size_t k = 0; k < batch(i).timestamps.size(); ++k) {
        const Offset offset = batch(i).base_offset + static_cast<std::int64_t>(k);
        if (offset >= end) return Offset(-1);
        if (offset >= from && batch(i).timestamps[k] >= timestamp) return offset;
      }
    }
    return Offset(-1);
  }
  void check_time(const Timing& t) {
    // The log may have grown at one end and shrunk at the other while the lookup ran.
    const Offset at_start = naive_time(t.op.timestamp, t.start_at_start, t.end_at_start);
    const Offset now = naive_time(t.op.timestamp, log_->log_start_offset(), log_->next_offset());
    if (t.start_at_start == log_->log_start_offset() && t.end_at_start == log_->next_offset()) {
      EXPECT_EQ(t.op.offset, at_start) << t.op.timestamp;
    } else {
      EXPECT_TRUE(t.op.offset == at_start || t.op.offset == now || t.op.offset >= t.start_at_start);
    }
  }

  void drop() {
    if (log_->next_offset() == Offset(0)) return;
    Offset point = log_->log_start_offset();
    if (prng_.chance(1, 3)) {
      point =
          Offset(prng_.between(point.value(), std::min(point.value() + 200, log_->next_offset().value())));
    } else {
      const std::int64_t bytes = prng_.chance(1, 2) ? static_cast<std::int64_t>(prng_.below(100'000)) : -1;
      const std::int64_t age = prng_.chance(1, 2) ? static_cast<std::int64_t>(prng_.below(5000)) : -1;
      const WallMs now = log_->max_timestamp() + prng_.between(0, 1000);
      const PartitionState before = state();
      point = log_->retention_point(age, bytes, now);
      check_retention(before, point, age, bytes, now);
    }
    log_->set_log_start(point);
    EXPECT_EQ(log_->log_start_offset(), point);
  }
  // By segments: each dropped one had to go, the first kept one must not.
  void check_retention(const PartitionState& state, Offset point, std::int64_t age, std::int64_t bytes,
                       WallMs now) {
    std::uint64_t total = 0;
    for (const auto& segment : state.segments) total += segment.bytes;
    for (std::size_t i = 0; i < state.segments.size(); ++i) {
      const bool active = i + 1 == state.segments.size();
      const Offset end = active ? state.next_offset : state.segments[i + 1].base_offset;
      WallMs newest = -1;
      for (std::size_t b = batch_at(state.segments[i].base_offset);
           b < applied_ && batch(b).base_offset < end; ++b) {
        newest = std::max(newest, *std::max_element(batch(b).timestamps.begin(), batch(b).timestamps.end()));
      }
      const bool old = age >= 0 && now - newest > age;
      const bool much = bytes >= 0 && total - state.segments[i].bytes >= static_cast<std::uint64_t>(bytes);
      const bool gone = !active && (old || much);
      EXPECT_EQ(gone, !active && end <= point);
      if (!gone) return;
      total -= state.segments[i].bytes;
    }
  }
  PartitionState state() const {
    PartitionState state;
    log_->snapshot(state);
    return state;
  }

  void checkpoint() {
    if (syncing_) return;
    syncing_ = true;
    log_->snapshot(pending_state_);
    pending_rules_ = log_->rolling();
    pending_applied_ = applied_;
    sync_op_ = {};
    sync_op_.context = this;
    sync_op_.done = [](SyncOp& op, Errc error) {
      Twin& twin = *static_cast<Twin*>(op.context);
      twin.syncing_ = false;
      EXPECT_EQ(error, Errc::ok) << twin.log_->last_error();
      twin.durable_state_ = twin.pending_state_;
      twin.durable_rules_ = twin.pending_rules_;
      twin.durable_applied_ = twin.pending_applied_;
      twin.log_->release_removed();  // also when more was dropped meanwhile
    };
    log_->sync(sync_op_);
  }

  void full_disk() {
    if (file_system_.used_bytes() == 0 || prng_.chance(1, 2)) {
      file_system_.set_capacity(UINT64_MAX);
    } else {
      file_system_.set_capacity(file_system_.used_bytes() + prng_.below(5000));
    }
  }

  void restart() {
    settle();
    checkpoint();
    settle();
    reopen();
  }
  void crash() {
    disk_->crash(prng_.chance(2, 3) ? sim::CrashKind::power : sim::CrashKind::process);
    append_outcome_.pending = false;
    syncing_ = false;
    readings_.clear();
    timings_.clear();
    reopen();
  }
  void reopen() {
    log_.reset();
    resources_.reset();
    disk_.reset();
    file_system_.set_capacity(UINT64_MAX);
    start();
    if (durable_applied_ == 0 && prng_.chance(1, 2)) {
      log_ = PartitionLog::create(*disk_, kDirectory, options_);  // unknown to the checkpoint
    } else {
      options_.segment_bytes = durable_rules_.bytes;
      options_.segment_ms = durable_rules_.ms;
      auto opened = PartitionLog::open(files_, *disk_, kDirectory, options_, durable_state_);
      ASSERT_TRUE(opened) << opened.error().message;
      log_ = std::move(*opened);
    }
    applied_ = durable_applied_;
    EXPECT_EQ(log_->next_offset(), durable_state_.next_offset);
    EXPECT_EQ(log_->log_start_offset(), durable_state_.log_start_offset);
    EXPECT_TRUE(log_->notes().empty()) << log_->notes().front();
  }

  // Segments end where a walk over the batches from the first one says.
  void compare_ends(const PartitionState& now) {
    Offset base;
    std::size_t bytes = 0;
    WallMs first = 0;
    std::size_t segment = 0;
    for (std::size_t i = now.segments.empty() ? applied_ : batch_at(now.segments[0].base_offset);
         i < applied_; ++i) {
      const RollRules rules = rules_of(i);
      const WallMs newest = std::ranges::max(batch(i).timestamps);
      const bool late = rules.ms >= 0 && newest - first > rules.ms;
      if (bytes > 0 && (bytes + batch(i).bytes.size() > rules.bytes || late)) {
        EXPECT_EQ(now.segments.at(segment++).bytes, bytes);
        bytes = 0;
      }
      if (bytes == 0) {
        base = batch(i).base_offset;
        first = newest;
        ASSERT_LT(segment, now.segments.size());
        EXPECT_EQ(now.segments[segment].base_offset, base);
        EXPECT_EQ(now.segments[segment].first_timestamp, first);
      }
      bytes += batch(i).bytes.size();
    }
    EXPECT_EQ(segment + 1, std::max<std::size_t>(now.segments.size(), 1));
  }

  // What is on disk is what the model says, byte by byte; no file is left that nothing explains.
  void compare_files() {
    file_system_.set_capacity(UINT64_MAX);
    checkpoint();
    settle();
    checkpoint();
    settle();
    log_->release_removed();
    settle();
    std::set<std::string> explained;
    const PartitionState now = state();
    for (std::size_t i = 0; i < now.segments.size(); ++i) {
      char name[64];
      std::snprintf(name, sizeof name, "%020lld",
                    static_cast<long long>(now.segments[i].base_offset.value()));
      explained.insert(std::string(name) + ".log");
      explained.insert(std::string(name) + ".index");
      auto bytes = io::read_whole_file(files_, std::string(kDirectory) + "/" + name + ".log", 1 << 30);
      ASSERT_TRUE(bytes) << bytes.error().message;
      const bool sealed = i + 1 < now.segments.size();
      if (sealed) {
        EXPECT_EQ(bytes->size(), now.segments[i].bytes);
      }
      std::size_t at = 0;
      for (std::size_t b = batch_at(now.segments[i].base_offset); at < now.segments[i].bytes; ++b) {
        const auto& expected = batch(b).bytes;
        ASSERT_LE(at + expected.size(), bytes->size());
        ASSERT_TRUE(
            std::equal(expected.begin(), expected.end(), bytes->begin() + static_cast<std::ptrdiff_t>(at)));
        at += expected.size();
      }
      EXPECT_EQ(at, now.segments[i].bytes);
    }
    compare_ends(now);
    const auto entries = files_.list(kDirectory);
    if (!entries) return;  // nothing was ever appended
    for (const auto& entry : *entries) {
      // Segments of an earlier life beyond the end wait to be written again.
      if (now.segments.empty() || entry.name > *explained.rbegin()) continue;
      EXPECT_TRUE(explained.contains(entry.name)) << entry.name;
    }
  }

  struct AppendOutcome {
    Twin* twin = nullptr;
    bool pending = false;
    std::size_t count = 0;
  };

  static constexpr std::size_t kBatchesPerRule = 37;
  const std::uint64_t seed_;
  Prng prng_;
  sim::FileSystem file_system_;
  sim::SimFiles files_;
  std::unique_ptr<sim::SimClock> clock_;
  std::unique_ptr<sim::SimDisk> disk_;
  std::unique_ptr<Resources> resources_;
  Options options_;
  std::unique_ptr<PartitionLog> log_;
  std::deque<TestBatch> wal_;
  std::size_t applied_ = 0;  // batches in the log
  AppendOp append_op_;
  AppendOutcome append_outcome_;
  std::vector<BatchRef> refs_;
  std::vector<std::unique_ptr<Reading>> readings_;
  std::vector<std::unique_ptr<Timing>> timings_;
  SyncOp sync_op_;
  bool syncing_ = false;
  PartitionState pending_state_, durable_state_;
  RollRules pending_rules_, durable_rules_;
  std::size_t pending_applied_ = 0, durable_applied_ = 0;
};

TEST(TwinTest, the_log_agrees_with_a_vector_of_batches_through_everything) {
  static_cast<void>(for_each_seed(60, [](std::uint64_t seed) { Twin(seed).run(600); }));
}

}  // namespace
}  // namespace esc::store::testing
