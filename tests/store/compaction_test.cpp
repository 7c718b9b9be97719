// Compaction of a partition's sealed segments: what stays, what goes, what others see of it.
#include <set>

#include "../../src/store/batch_cleaner.h"
#include "keyed.h"

namespace esc::store::testing {
namespace {

constexpr WallMs kNow = 1'700'000'000'000;

class CompactionTest : public StoreTest {
 protected:
  CompactionTest() { rules_.dirty_permille = 0; }

  void put(std::vector<KeyedRecord> records, wire::Codec codec = wire::Codec::none) {
    for (auto& record : records) {
      if (record.timestamp == 0) record.timestamp = kNow - 10'000 + log_->next_offset().value();
    }
    const TestBatch batch = make_keyed_batch(log_->next_offset(), records, codec);
    ASSERT_EQ(append(batch), Errc::ok) << log_->last_error();
    all_.insert(all_.end(), records.begin(), records.end());
  }
  // Rolls the active segment: what was put so far is sealed.
  void seal() {
    const std::size_t before = state().segments.size();
    while (state().segments.size() == before) put({{"filler", std::string(3000, 'f')}});
    ASSERT_EQ(sync(), Errc::ok);
  }
  // Begins; `outcome_` tells the end.
  void begin(WallMs now = kNow) {
    op_ = {};
    op_.rules = rules_;
    op_.now_ms = now;
    op_.memory_bytes = memory_;
    op_.slice_bytes = slice_;
    op_.slice = [](CompactOp&, std::uint64_t) {};
    outcome_.reset();
    op_.context = &outcome_;
    op_.done = [](CompactOp& op, Errc error) { *static_cast<std::optional<Errc>*>(op.context) = error; };
    log_->compact(op_);
  }
  Errc compact(WallMs now = kNow) {
    begin(now);
    while (!outcome_) {
      if (disk_.run_one()) continue;
      log_->continue_compaction();
      ++slices_;
    }
    return *outcome_;
  }
  // Sync, checkpoint, removal of what it no longer names.
  void checkpoint() {
    ASSERT_EQ(sync(), Errc::ok);
    log_->release_removed();
    disk_.run();
  }
  std::vector<KeyedRecord> read_all(Offset from = Offset(0)) {
    std::vector<KeyedRecord> found;
    while (from < log_->next_offset()) {
      std::vector<std::byte> bytes;
      const Errc error = read(from, 32 * kKiB, bytes);
      EXPECT_EQ(error, Errc::ok) << log_->last_error();
      if (error != Errc::ok || bytes.empty()) break;
      for (auto& record : records_of(bytes)) {
        if (record.offset >= from) found.push_back(std::move(record));
      }
      wire::BatchIterator iterator{ByteView(bytes)};
      while (const auto batch = iterator.next()) from = Offset(batch->next_offset());
    }
    return found;
  }
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      if (entry.path().extension() == ".log") names.insert(entry.path().filename());
    }
    return names;
  }
  static std::string key(std::uint64_t number) { return "key-" + std::to_string(number); }
  // What lies below the active segment.
  std::vector<KeyedRecord> sealed_part(const std::vector<KeyedRecord>& records) const {
    std::vector<KeyedRecord> part;
    for (const auto& record : records) {
      if (record.offset < state().segments.back().base_offset) part.push_back(record);
    }
    return part;
  }
  // The newest of each key among what is sealed, as compaction leaves it.
  std::vector<KeyedRecord> expected() const {
    std::map<std::string, Offset> last;
    const std::vector<KeyedRecord> sealed = sealed_part(all_);
    for (const auto& record : sealed) last[*record.key] = record.offset;
    std::vector<KeyedRecord> kept;
    for (const auto& record : sealed) {
      if (last[*record.key] == record.offset) kept.push_back(record);
    }
    return kept;
  }
  void fill(std::size_t batches, std::uint64_t keys, wire::Codec codec = wire::Codec::none) {
    for (std::size_t i = 0; i < batches; ++i) {
      std::vector<KeyedRecord> records;
      for (int k = 0; k < 8; ++k)
        records.push_back({key(prng_.below(keys)), "value " + std::to_string(prng_.next())});
      put(std::move(records), codec);
    }
  }

  Prng prng_{11};
  CompactionRules rules_;
  std::optional<Errc> outcome_;  // once it has ended
  std::uint64_t memory_ = kMiB;
  std::uint32_t slice_ = 4096;
  std::uint64_t slices_ = 0;
  CompactOp op_;
  std::vector<KeyedRecord> all_;
};

TEST_F(CompactionTest, the_newest_record_of_each_key_stays_with_its_offset_in_every_codec) {
  for (const auto codec :
       {wire::Codec::none, wire::Codec::gzip, wire::Codec::snappy, wire::Codec::lz4, wire::Codec::zstd}) {
    SCOPED_TRACE(static_cast<int>(codec));
    fill(150, 40, codec);
    seal();
    const std::uint64_t bytes_before = log_->bytes();
    ASSERT_EQ(compact(), Errc::ok) << log_->last_error();
    EXPECT_EQ(sealed_part(read_all()), expected());
    EXPECT_LT(log_->bytes(), bytes_before);
    EXPECT_EQ(op_.result.bytes_before - op_.result.bytes_after, bytes_before - log_->bytes());
    EXPECT_GT(op_.result.records_removed, 0U);
    checkpoint();
    EXPECT_EQ(sealed_part(read_all()), expected());
  }
}

TEST_F(CompactionTest, a_reader_may_ask_for_any_offset_that_is_gone) {
  fill(200, 5);
  seal();
  ASSERT_EQ(compact(), Errc::ok);
  const std::vector<KeyedRecord> whole = read_all();
  for (std::int64_t from = 0; from < log_->next_offset().value(); from += 7) {
    const std::vector<KeyedRecord> rest = read_all(Offset(from));
    std::vector<KeyedRecord> wanted;
    for (const auto& record : whole) {
      if (record.offset >= Offset(from)) wanted.push_back(record);
    }
    ASSERT_EQ(rest, wanted) << from;
  }
}

TEST_F(CompactionTest, times_are_found_among_what_stays) {
  fill(200, 20);
  seal();
  ASSERT_EQ(compact(), Errc::ok);
  const std::vector<KeyedRecord> whole = read_all();
  for (const auto& record : whole) {
    Offset offset;
    WallMs found = 0;
    ASSERT_EQ(find_time(record.timestamp, offset, found), Errc::ok) << log_->last_error();
    const auto first = std::find_if(whole.begin(), whole.end(),
                                    [&](const auto& r) { return r.timestamp >= record.timestamp; });
    EXPECT_EQ(offset, first->offset);
    EXPECT_EQ(found, first->timestamp);
  }
}

TEST_F(CompactionTest, the_active_segment_and_what_is_not_synced_stay_as_they_are) {
  fill(3, 1);
  ASSERT_EQ(sync(), Errc::ok);
  EXPECT_FALSE(log_->compaction_due(rules_, kNow));
  ASSERT_EQ(compact(), Errc::ok);
  EXPECT_EQ(read_all(), all_);
  fill(100, 1);  // sealed, not synced
  ASSERT_GT(state().segments.size(), 1U);
  EXPECT_FALSE(log_->compaction_due(rules_, kNow));
  ASSERT_EQ(compact(), Errc::ok);
  EXPECT_EQ(read_all(), all_);
  ASSERT_EQ(sync(), Errc::ok);
  EXPECT_TRUE(log_->compaction_due(rules_, kNow));
}

TEST_F(CompactionTest, a_tombstone_deletes_its_key_and_goes_after_its_retention) {
  rules_.delete_retention_ms = 1000;
  put({{"a", "1"}, {"b", "1"}});
  put({{"a", std::nullopt}, {"c", "1"}});
  seal();
  ASSERT_EQ(compact(kNow), Errc::ok);
  const auto has = [&](const std::string& wanted) {
    const auto records = read_all();
    return std::count_if(records.begin(), records.end(), [&](const auto& r) { return r.key == wanted; });
  };
  EXPECT_EQ(has("a"), 1) << "the tombstone alone, for readers who have seen the value";
  EXPECT_EQ(read_all()[0].key, "b");
  EXPECT_EQ(state().tombstones_until, kNow + 1000);
  EXPECT_FALSE(log_->compaction_due(rules_, kNow + 1000)) << "nothing is dirty";
  ASSERT_EQ(compact(kNow + 1000), Errc::ok);
  EXPECT_EQ(has("a"), 1);
  EXPECT_TRUE(log_->compaction_due(rules_, kNow + 1001));
  ASSERT_EQ(compact(kNow + 1001), Errc::ok);
  EXPECT_EQ(has("a"), 0);
  EXPECT_EQ(has("c"), 1);
  EXPECT_EQ(state().tombstones_until, 0);
  EXPECT_FALSE(log_->compaction_due(rules_, kNow + 5000));
}

TEST_F(CompactionTest, a_log_of_nothing_but_old_tombstones_keeps_the_last_one) {
  rules_.delete_retention_ms = 0;
  for (int i = 0; i < 2000; ++i) put({{key(static_cast<std::uint64_t>(i)), std::nullopt}});
  ASSERT_EQ(sync(), Errc::ok);
  ASSERT_EQ(compact(kNow), Errc::ok);
  ASSERT_EQ(compact(kNow + 1), Errc::ok);
  const auto sealed = sealed_part(read_all());
  ASSERT_EQ(sealed.size(), 1U);
  EXPECT_EQ(sealed[0].value, std::nullopt);
  EXPECT_EQ(sealed_part(read_all(Offset(1))), sealed);
}

TEST_F(CompactionTest, more_keys_than_fit_in_memory_take_several_passes) {
  memory_ = 24 * 100;
  fill(150, 300);
  seal();
  int passes = 0;
  while (state().compacted_until < state().segments.back().base_offset) {
    const Offset before = state().compacted_until;
    ASSERT_EQ(compact(), Errc::ok) << log_->last_error();
    ASSERT_GT(state().compacted_until, before);
    ++passes;
    // Below the mark no key occurs twice, and the newest of each key is there.
    std::set<std::string> seen;
    std::map<std::string, Offset> last;
    for (const auto& record : all_) last[*record.key] = record.offset;
    const auto records = read_all();
    for (const auto& record : records) {
      if (record.offset >= state().compacted_until) break;
      EXPECT_TRUE(seen.insert(*record.key).second);
    }
    for (const auto& [name, offset] : last) {
      EXPECT_TRUE(
          std::any_of(records.begin(), records.end(), [&](const auto& r) { return r.offset == offset; }));
    }
    if (passes % 3 == 0) checkpoint();
  }
  EXPECT_GT(passes, 5);
  EXPECT_EQ(sealed_part(read_all()), expected());
}

TEST_F(CompactionTest, one_batch_with_more_keys_than_memory_is_got_through) {
  memory_ = 1;
  std::vector<KeyedRecord> records;
  for (std::uint64_t i = 0; i < 50; ++i) records.push_back({key(i % 20), std::to_string(i)});
  put(std::move(records), wire::Codec::lz4);
  seal();
  for (int i = 0; i < 100 && state().compacted_until < state().segments.back().base_offset; ++i)
    ASSERT_EQ(compact(), Errc::ok);
  EXPECT_EQ(sealed_part(read_all()), expected());
}

TEST_F(CompactionTest, segments_grow_together_and_old_files_go_with_the_next_checkpoint) {
  fill(600, 30);
  seal();
  checkpoint();
  const std::set<std::string> before = files();
  ASSERT_GT(before.size(), 6U);
  ASSERT_EQ(compact(), Errc::ok);
  EXPECT_EQ(state().segments.size(), 2U);
  for (const auto& name : before) EXPECT_TRUE(files().contains(name)) << "the checkpoint names it";
  checkpoint();
  EXPECT_EQ(files().size(), 2U);
  ASSERT_TRUE(reopen(state()));
  EXPECT_TRUE(log_->notes().empty());
  EXPECT_EQ(sealed_part(read_all()), expected());
  fill(100, 30);
  seal();
  ASSERT_EQ(compact(), Errc::ok);
  EXPECT_EQ(sealed_part(read_all()), expected());
}

TEST_F(CompactionTest, without_a_new_checkpoint_the_old_files_are_the_log_and_the_new_ones_go) {
  fill(300, 30);
  seal();
  checkpoint();
  const PartitionState old = state();
  const std::set<std::string> before = files();
  ASSERT_EQ(compact(), Errc::ok);
  ASSERT_TRUE(reopen(old));
  EXPECT_EQ(read_all(), all_);
  checkpoint();
  EXPECT_EQ(files(), before);
  EXPECT_TRUE(log_->notes().empty());
  ASSERT_EQ(compact(), Errc::ok);
  EXPECT_EQ(sealed_part(read_all()), expected());
}

TEST_F(CompactionTest, a_batch_keeps_its_producer_and_says_where_it_ends) {
  put({{"a", "1"}, {"b", "1"}, {"a", "2"}});
  put({{"a", "3"}});
  put({{"c", "1"}});
  seal();
  ASSERT_EQ(compact(), Errc::ok);
  std::vector<std::byte> bytes;
  ASSERT_EQ(read(Offset(0), 32 * kKiB, bytes), Errc::ok);
  const auto batch = wire::BatchView::parse(bytes);
  ASSERT_TRUE(batch.has_value());
  EXPECT_EQ(batch->base_offset(), 0);
  EXPECT_EQ(batch->last_offset(), 2);
  EXPECT_EQ(batch->record_count(), 1);
  EXPECT_EQ(batch->producer_id(), 7);
  EXPECT_EQ(batch->producer_epoch(), 1);
  EXPECT_EQ(batch->base_sequence(), 40);
  EXPECT_EQ(batch->leader_epoch(), 3);
}

TEST_F(CompactionTest, records_without_a_key_stay) {
  put({{"a", "1"}, {std::nullopt, "x"}, {"a", "2"}, {std::nullopt, "y"}});
  seal();
  ASSERT_EQ(compact(), Errc::ok);
  const auto records = read_all();
  ASSERT_GE(records.size(), 3U);
  EXPECT_EQ(records[0].value, "x");
  EXPECT_EQ(records[1].value, "2");
  EXPECT_EQ(records[2].value, "y");
}

TEST_F(CompactionTest, segments_with_young_records_wait) {
  rules_.min_lag_ms = 60'000;
  fill(100, 3);
  seal();
  EXPECT_FALSE(log_->compaction_due(rules_, kNow));
  ASSERT_EQ(compact(), Errc::ok);
  EXPECT_EQ(read_all(), all_);
  EXPECT_TRUE(log_->compaction_due(rules_, kNow + 120'000));
  ASSERT_EQ(compact(kNow + 120'000), Errc::ok);
  EXPECT_EQ(sealed_part(read_all()), expected());
}

TEST_F(CompactionTest, it_waits_until_enough_is_dirty) {
  rules_.dirty_permille = 500;
  fill(200, 1000);
  seal();
  EXPECT_TRUE(log_->compaction_due(rules_, kNow));
  ASSERT_EQ(compact(), Errc::ok);
  EXPECT_FALSE(log_->compaction_due(rules_, kNow));
  put({{"x", "1"}});
  seal();
  EXPECT_FALSE(log_->compaction_due(rules_, kNow));
  fill(400, 1000);
  seal();
  EXPECT_TRUE(log_->compaction_due(rules_, kNow));
}

TEST_F(CompactionTest, what_is_old_is_due_however_little_it_is) {
  rules_.dirty_permille = 900;
  fill(200, 1000);
  seal();
  ASSERT_EQ(compact(), Errc::ok);
  put({{"x", "1"}});
  seal();
  EXPECT_FALSE(log_->compaction_due(rules_, kNow + 50'000));
  rules_.max_lag_ms = 60'000;
  EXPECT_FALSE(log_->compaction_due(rules_, kNow + 50'000));
  const PartitionState durable = state();
  ASSERT_TRUE(reopen(durable)) << "a start remembers when segments began";
  EXPECT_TRUE(log_->compaction_due(rules_, kNow + 120'000));
  ASSERT_EQ(compact(kNow + 120'000), Errc::ok);
  EXPECT_FALSE(log_->compaction_due(rules_, kNow + 200'000)) << "nothing is dirty";
}

TEST_F(CompactionTest, segments_that_time_has_cut_small_become_large_ones) {
  log_->set_rolling(Offset(0), {.bytes = options_.segment_bytes, .ms = 0});
  for (int i = 0; i < 20; ++i) put({{key(static_cast<std::uint64_t>(i)), "1", kNow + i}});
  ASSERT_EQ(sync(), Errc::ok);
  ASSERT_EQ(state().segments.size(), 20U);
  ASSERT_EQ(compact(kNow + 100), Errc::ok);
  EXPECT_LE(state().segments.size(), 3U);
  EXPECT_EQ(read_all(), all_);
}

TEST_F(CompactionTest, what_the_device_cannot_read_leaves_everything_as_it_was) {
  fill(300, 30);
  seal();
  disk_.fault = [](const io::DiskOp& op) { return op.kind == io::DiskOp::Kind::read ? EIO : 0; };
  EXPECT_EQ(compact(), Errc::corruption);
  disk_.fault = nullptr;
  EXPECT_EQ(read_all(), all_);
  put({{"x", "1"}});
  ASSERT_EQ(compact(), Errc::ok) << "the log goes on";
}

TEST_F(CompactionTest, retention_in_the_middle_ends_it_and_loses_nothing) {
  fill(300, 30);
  seal();
  begin();
  for (int i = 0; i < 10; ++i) {
    disk_.run();
    log_->continue_compaction();
  }
  log_->set_log_start(state().segments[1].base_offset);
  checkpoint();
  while (!outcome_.has_value()) {
    if (!disk_.run_one()) log_->continue_compaction();
  }
  EXPECT_EQ(outcome_, Errc::closed);
  disk_.run();
  EXPECT_TRUE(log_->idle());
  EXPECT_EQ(read_all(log_->log_start_offset()).size(),
            static_cast<std::size_t>(log_->next_offset() - log_->log_start_offset()));
  ASSERT_EQ(compact(), Errc::ok);
}

TEST_F(CompactionTest, cancelling_at_any_step_leaves_everything_as_it_was) {
  fill(200, 30);
  seal();
  checkpoint();
  const std::set<std::string> before = files();
  for (int steps = 0; steps < 400; ++steps) {
    begin();
    for (int i = 0; i < steps && !outcome_.has_value(); ++i) {
      if (!disk_.run_one()) log_->continue_compaction();
    }
    log_->cancel_compaction();
    disk_.run();
    ASSERT_TRUE(outcome_.has_value()) << steps;
    EXPECT_TRUE(log_->idle());
    if (outcome_ == Errc::ok) {
      EXPECT_GT(steps, 20);
      EXPECT_EQ(sealed_part(read_all()), expected());
      return;
    }
    ASSERT_EQ(outcome_, Errc::closed);
    ASSERT_EQ(files(), before);
    ASSERT_EQ(read_all(), all_);
  }
  FAIL() << "it never got through";
}

TEST_F(CompactionTest, a_full_disk_leaves_everything_as_it_was) {
  fill(200, 30);
  seal();
  checkpoint();
  const std::set<std::string> before = files();
  disk_.fault = [](const io::DiskOp& op) { return op.kind == io::DiskOp::Kind::write ? ENOSPC : 0; };
  EXPECT_EQ(compact(), Errc::no_space);
  disk_.fault = nullptr;
  disk_.run();
  EXPECT_EQ(files(), before);
  EXPECT_EQ(read_all(), all_);
  ASSERT_EQ(compact(), Errc::ok);
  EXPECT_EQ(sealed_part(read_all()), expected());
}

TEST_F(CompactionTest, damage_is_told_with_file_and_position_and_nothing_is_replaced) {
  fill(200, 30);
  seal();
  checkpoint();
  {
    std::unique_ptr<FILE, int (*)(FILE*)> file(
        std::fopen((directory_ + "/00000000000000000000.log").c_str(), "r+"), &std::fclose);
    ASSERT_NE(file, nullptr);
    std::fseek(file.get(), 5000, SEEK_SET);
    std::fputc(0x55, file.get());
    std::fputc(0x55, file.get());
  }
  const std::set<std::string> before = files();
  EXPECT_EQ(compact(), Errc::corruption);
  EXPECT_NE(log_->last_error().find("00000000000000000000.log at byte"), std::string::npos);
  disk_.run();
  EXPECT_EQ(files(), before);
}

TEST_F(CompactionTest, destroying_the_log_ends_it) {
  fill(200, 30);
  seal();
  begin();
  (void)disk_.run_one();
  SyncOp gone;
  EXPECT_EQ(finish(disk_, gone, [&] { log_->destroy(gone); }), Errc::ok);
  EXPECT_EQ(outcome_, Errc::closed);
  EXPECT_TRUE(files().empty());
}

TEST_F(CompactionTest, beginning_anew_can_be_taken_back_until_it_is_kept) {
  fill(100, 30);
  checkpoint();
  const PartitionState old = state();
  const std::set<std::string> before = files();
  const std::vector<KeyedRecord> old_records = std::exchange(all_, {});
  log_->start_over(Offset(5));
  EXPECT_EQ(log_->next_offset(), Offset(5));
  EXPECT_EQ(log_->log_start_offset(), Offset(5));
  fill(60, 30);
  EXPECT_EQ(read_all(Offset(5)), all_);
  log_->return_to_old();
  disk_.run();
  EXPECT_EQ(read_all(), old_records);
  EXPECT_EQ(files(), before);

  all_.clear();
  log_->start_over(Offset(0));
  fill(40, 30);
  log_->keep_new();
  for (const auto& name : before) EXPECT_TRUE(files().contains(name)) << "the checkpoint names it";
  checkpoint();
  EXPECT_EQ(files().size(), state().segments.size());
  ASSERT_TRUE(reopen(state()));
  EXPECT_EQ(read_all(), all_);
  fill(40, 30);
  EXPECT_EQ(read_all(), all_);
}

TEST_F(CompactionTest, a_crash_while_beginning_anew_leaves_what_was) {
  fill(100, 30);
  checkpoint();
  const PartitionState old = state();
  const std::set<std::string> before = files();
  const std::vector<KeyedRecord> old_records = std::exchange(all_, {});
  log_->start_over(Offset(0));
  fill(60, 30);
  ASSERT_TRUE(reopen(old));
  EXPECT_EQ(read_all(), old_records);
  checkpoint();
  EXPECT_EQ(files(), before);
}

// --- the cleaner alone -------------------------------------------------------------------------------

TEST(BatchCleanerTest, a_batch_that_would_grow_too_large_is_cut_in_two) {
  std::vector<KeyedRecord> records;
  for (int i = 0; i < 1000; ++i)
    records.push_back(
        {"k" + std::to_string(i), i % 2 == 0 ? std::nullopt : std::optional<std::string>("v"), kNow});
  const TestBatch batch = make_keyed_batch(Offset(100), records, wire::Codec::none);
  CleanerSettings settings;
  settings.from = settings.dirty_from = Offset(90);
  settings.now_ms = kNow;
  settings.delete_retention_ms = 86'400'000;
  settings.map_bytes = kMiB;
  settings.keys_max = 10'000;
  settings.batch_bytes_max = batch.bytes.size();
  BatchCleaner cleaner(settings);
  const auto view = wire::BatchView::parse(batch.bytes);
  EXPECT_TRUE(cleaner.note(*view).value_or(false));
  ASSERT_EQ(cleaner.clean(*view, true), Errc::ok);
  const ByteView out = cleaner.take();
  std::vector<KeyedRecord> again = records_of(out);
  EXPECT_EQ(again, records);
  wire::BatchIterator iterator(out);
  Offset next(90);
  int batches = 0;
  while (const auto part = iterator.next()) {
    EXPECT_EQ(Offset(part->base_offset()), next);
    next = Offset(part->next_offset());
    EXPECT_LE(part->size(), batch.bytes.size());
    ++batches;
  }
  EXPECT_EQ(next, Offset(1100));
  EXPECT_GE(batches, 2);
}

TEST(BatchCleanerTest, a_gap_that_a_batch_could_not_span_gets_a_mark) {
  CleanerSettings settings;
  settings.map_bytes = kMiB;
  settings.keys_max = 10'000;
  settings.gap_max = 20;
  BatchCleaner cleaner(settings);
  std::vector<TestBatch> batches;
  for (int i = 0; i < 30; ++i) {
    std::vector<KeyedRecord> records(5, {"same", "v", kNow});
    batches.push_back(make_keyed_batch(Offset(5 * i), records, wire::Codec::zstd));
    EXPECT_TRUE(cleaner.note(*wire::BatchView::parse(batches.back().bytes)).value_or(false));
  }
  std::vector<std::byte> out;
  for (const auto& batch : batches) {
    ASSERT_EQ(cleaner.clean(*wire::BatchView::parse(batch.bytes), &batch == &batches.back()), Errc::ok);
    const ByteView ready = cleaner.take();
    out.insert(out.end(), ready.begin(), ready.end());
  }
  const auto records = records_of(out);
  ASSERT_GT(records.size(), 3U);
  EXPECT_EQ(records.back().offset, Offset(149));
  EXPECT_EQ(records.back().value, "v");
  for (std::size_t i = 0; i + 1 < records.size(); ++i) EXPECT_EQ(records[i].value, std::nullopt);
  wire::BatchIterator iterator{ByteView(out)};
  Offset next(0);
  while (const auto part = iterator.next()) {
    EXPECT_EQ(Offset(part->base_offset()), next);
    next = Offset(part->next_offset());
  }
  EXPECT_EQ(next, Offset(150));
}

}  // namespace
}  // namespace esc::store::testing
