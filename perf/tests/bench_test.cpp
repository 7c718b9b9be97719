// A prover is trusted only once it has caught planted faults.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "../bench/ack_log.h"
#include "../bench/consume.h"
#include "../bench/report.h"
#include "../bench/workload.h"

namespace esc::bench {
namespace {

constexpr std::uint64_t kRun = 77;

// A log of one partition, as a server would hold it: batches of `sizes` events from one producer.
struct FakeLog {
  explicit FakeLog(const std::vector<std::uint32_t>& sizes, bool keyed = false,
                   wire::Codec codec = wire::Codec::none)
      : factory({.run_id = kRun, .event_bytes = 100, .keyed = keyed, .events_max = 200, .codec = codec}) {
    std::uint64_t sequence = 0;
    for (const std::uint32_t size : sizes) {
      Batch* batch = factory.take(0, sequence);
      for (std::uint32_t i = 0; i < size; ++i) factory.append(*batch, 3, 1000 + i, i);
      factory.finish(*batch);
      const ByteView bytes = batch->wire.subspan(Batch::kPrefixBytes);
      batches.emplace_back(bytes.begin(), bytes.end());
      wire::stamp_base_offset(batches.back(), static_cast<std::int64_t>(sequence));
      acked.push_back({.run_id = kRun,
                       .producer = 3,
                       .partition = 0,
                       .base_offset = static_cast<std::int64_t>(sequence),
                       .first_sequence = sequence,
                       .count = size});
      sequence += size;
      factory.give_back(batch);
    }
  }

  [[nodiscard]] VerifyingSink::Report verify() const {
    VerifyingSink sink(acked, {0});
    for (const auto& batch : batches) sink.on_batch(0, *wire::BatchView::parse(batch), 0);
    sink.finish();
    return sink.report();
  }

  BatchFactory factory;
  std::vector<std::vector<std::byte>> batches;
  std::vector<AckedRange> acked;
};

TEST(Batches, are_valid_at_every_count_keyed_or_not) {
  for (const bool keyed : {false, true}) {
    const FakeLog log({1, 2, 63, 64, 65, 127, 128, 200}, keyed);
    for (const auto& batch : log.batches) {
      const auto verdict = wire::validate_produce_batch(
          [&] {
            static std::vector<std::byte> unstamped;
            unstamped = batch;
            wire::stamp_base_offset(unstamped, 0);
            return wire::NullableBytes(unstamped);
          }(),
          {});
      EXPECT_TRUE(verdict.ok()) << verdict.reason;
    }
    EXPECT_TRUE(log.verify().sound());
  }
}

TEST(Batches, survive_every_codec) {
  for (const auto codec : {wire::Codec::gzip, wire::Codec::snappy, wire::Codec::lz4, wire::Codec::zstd}) {
    const FakeLog log({64, 1}, false, codec);
    const auto report = log.verify();
    EXPECT_TRUE(report.sound());
    EXPECT_EQ(report.acked_found, 65u);
  }
}

TEST(Verify, finds_everything_that_was_acknowledged) {
  const auto report = FakeLog({10, 20, 30}).verify();
  EXPECT_TRUE(report.sound());
  EXPECT_EQ(report.events, 60u);
  EXPECT_EQ(report.acked_events, 60u);
  EXPECT_EQ(report.acked_found, 60u);
  EXPECT_EQ(report.unacknowledged, 0u);
}

TEST(Verify, allows_events_that_were_never_acknowledged) {
  FakeLog log({10, 20});
  log.acked.pop_back();
  const auto report = log.verify();
  EXPECT_TRUE(report.sound());
  EXPECT_EQ(report.unacknowledged, 20u);
}

TEST(Verify, catches_a_lost_tail) {
  FakeLog log({10, 20});
  log.batches.pop_back();
  const auto report = log.verify();
  EXPECT_FALSE(report.sound());
  EXPECT_EQ(report.lost, 20u);
}

TEST(Verify, catches_a_hole_in_the_middle) {
  FakeLog log({10, 20, 30});
  log.batches.erase(log.batches.begin() + 1);
  const auto report = log.verify();
  EXPECT_FALSE(report.sound());
  EXPECT_EQ(report.lost, 20u);
  EXPECT_EQ(report.offset_gaps, 1u);
}

TEST(Verify, catches_a_batch_at_a_wrong_offset) {
  FakeLog log({10, 10});
  std::swap(log.batches[0], log.batches[1]);
  wire::stamp_base_offset(log.batches[0], 0);
  wire::stamp_base_offset(log.batches[1], 10);
  const auto report = log.verify();
  EXPECT_FALSE(report.sound());
  EXPECT_EQ(report.wrong, 20u);
}

TEST(Verify, catches_every_flipped_byte) {
  const FakeLog good({3});
  for (std::size_t at = 17; at < good.batches[0].size(); ++at) {  // before: length and fields outside the CRC
    FakeLog log({3});
    log.batches[0][at] ^= std::byte{0x10};
    const auto report = log.verify();
    EXPECT_FALSE(report.sound()) << at;
  }
}

TEST(Verify, catches_a_changed_event_even_under_a_valid_crc) {
  FakeLog log({3});
  log.batches[0][log.batches[0].size() - 5] ^= std::byte{1};
  wire::stamp_crc(log.batches[0]);
  const auto report = log.verify();
  EXPECT_EQ(report.damaged, 1u);
  EXPECT_FALSE(report.sound());
}

TEST(Verify, counts_a_batch_that_was_sent_twice_but_allows_it) {
  FakeLog log({10, 20});
  log.batches.push_back(log.batches[1]);
  wire::stamp_base_offset(log.batches[2], 30);
  const auto report = log.verify();
  EXPECT_TRUE(report.sound());
  EXPECT_EQ(report.duplicates, 20u);
}

TEST(Verify, catches_reordering_of_unacknowledged_batches_too) {
  FakeLog log({10, 10, 10});
  std::swap(log.batches[1], log.batches[2]);
  wire::stamp_base_offset(log.batches[1], 10);
  wire::stamp_base_offset(log.batches[2], 20);
  log.acked.resize(1);
  const auto report = log.verify();
  EXPECT_EQ(report.reordered, 10u);
  EXPECT_FALSE(report.sound());
}

TEST(Verify, catches_two_acknowledgements_for_one_offset) {
  FakeLog log({10});
  log.acked.push_back(
      {.run_id = kRun, .producer = 4, .partition = 0, .base_offset = 0, .first_sequence = 0, .count = 10});
  EXPECT_FALSE(log.verify().sound());
}

TEST(AckLog, reads_back_what_was_written_and_ignores_a_torn_last_line) {
  std::string path = "/tmp/esc-ack-log-test.XXXXXX";
  const int fd = ::mkstemp(path.data());
  ASSERT_GE(fd, 0);
  {
    auto writer = AckLogWriter::open(path, "mine");
    ASSERT_TRUE(writer.has_value());
    (*writer)->write(
        {.run_id = 9, .producer = 1, .partition = 2, .base_offset = 30, .first_sequence = 4, .count = 5});
    (*writer)->write(
        {.run_id = 9, .producer = 1, .partition = 0, .base_offset = 7, .first_sequence = 0, .count = 1});
    ASSERT_TRUE((*writer)->flush());
  }
  const std::string torn = "0000000000000009 1 2 99";
  ASSERT_EQ(::lseek(fd, 0, SEEK_END) > 0, true);
  ASSERT_EQ(::write(fd, torn.data(), torn.size()), static_cast<ssize_t>(torn.size()));
  ::close(fd);
  const std::vector<std::string> paths = {path};
  const auto ranges = read_ack_logs(paths, "mine");
  ASSERT_TRUE(ranges.has_value()) << ranges.error().message;
  ASSERT_EQ(ranges->size(), 2u);
  EXPECT_EQ((*ranges)[0].partition, 0u);
  EXPECT_EQ((*ranges)[1].end_offset(), 35);
  EXPECT_TRUE(read_ack_logs(paths, "another")->empty());
  ::unlink(path.c_str());
}

TEST(AckLog, ranges_grow_only_when_sequence_and_offset_both_continue) {
  AckedRange range{.run_id = 1, .base_offset = 10, .first_sequence = 5, .count = 5};
  EXPECT_TRUE(range.absorb({.run_id = 1, .base_offset = 15, .first_sequence = 10, .count = 2}));
  EXPECT_EQ(range.count, 7u);
  EXPECT_FALSE(range.absorb({.run_id = 1, .base_offset = 18, .first_sequence = 12, .count = 1}));
  EXPECT_FALSE(range.absorb({.run_id = 1, .base_offset = 17, .first_sequence = 13, .count = 1}));
  EXPECT_FALSE(range.absorb({.run_id = 2, .base_offset = 17, .first_sequence = 12, .count = 1}));
}

TEST(Budget, compares_the_median_with_both_kinds_of_limit) {
  std::string path = "/tmp/esc-budget-test.XXXXXX";
  const int fd = ::mkstemp(path.data());
  ASSERT_GE(fd, 0);
  const std::string text = "[a]\np99_us_max = 100\nevents_per_s_min = 50\n[b]\nunknown_max = 1\n";
  ASSERT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  ::close(fd);
  Report report;
  for (const double p99 : {90.0, 95.0, 500.0}) {
    report.runs.emplace_back();
    report.runs.back().metrics.set("p99_us", p99);
    report.runs.back().metrics.set("events_per_s", 40);
  }
  ASSERT_TRUE(check_budget(path, "a", report).has_value());
  ASSERT_EQ(report.violations.size(), 1u);
  EXPECT_NE(report.violations[0].find("events_per_s is 40"), std::string::npos);
  EXPECT_FALSE(check_budget(path, "b", report).has_value());
  EXPECT_FALSE(check_budget(path, "missing", report).has_value());
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace esc::bench
