#include "esc/obs/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

namespace esc::obs {
namespace {

TEST(Registry, dumps_families_once_with_every_cores_series) {
  Registry registry;
  Scope& core0 = registry.scope({{"core", "0"}});
  Scope& core1 = registry.scope({{"core", "1"}});
  core0.counter("escd_wal_writes_total", "Writes to the log device.").add(3);
  core1.counter("escd_wal_writes_total", "Writes to the log device.").add(4);
  core0.gauge("escd_connections", "Open client connections.").set(-2);
  std::string text;
  registry.write_prometheus(text);
  EXPECT_EQ(text,
            "# HELP escd_wal_writes_total Writes to the log device.\n"
            "# TYPE escd_wal_writes_total counter\n"
            "escd_wal_writes_total{core=\"0\"} 3\n"
            "escd_wal_writes_total{core=\"1\"} 4\n"
            "# HELP escd_connections Open client connections.\n"
            "# TYPE escd_connections gauge\n"
            "escd_connections{core=\"0\"} -2\n");
}

TEST(Registry, prints_a_histogram_in_seconds_with_its_maximum) {
  Registry registry;
  Histogram& latency =
      registry.scope({{"core", "0"}})
          .histogram("escd_ack_seconds", "Time to acknowledge.", Unit::nanoseconds_as_seconds);
  latency.record_many(200, 1000);
  latency.record(3'000'000);
  latency.record(100'000'000'000);
  std::string text;
  registry.write_prometheus(text);
  const std::string begin =
      "# HELP escd_ack_seconds Time to acknowledge.\n"
      "# TYPE escd_ack_seconds histogram\n"
      "escd_ack_seconds_bucket{core=\"0\",le=\"1e-05\"} 1000\n"
      "escd_ack_seconds_bucket{core=\"0\",le=\"2.5e-05\"} 1000\n";
  const std::string middle =
      "escd_ack_seconds_bucket{core=\"0\",le=\"0.0025\"} 1000\n"
      "escd_ack_seconds_bucket{core=\"0\",le=\"0.005\"} 1001\n";
  const std::string end =
      "escd_ack_seconds_bucket{core=\"0\",le=\"10\"} 1001\n"
      "escd_ack_seconds_bucket{core=\"0\",le=\"+Inf\"} 1002\n"
      "escd_ack_seconds_sum{core=\"0\"} 100.0032\n"
      "escd_ack_seconds_count{core=\"0\"} 1002\n"
      "# HELP escd_ack_seconds_max The largest since the start: Time to acknowledge.\n"
      "# TYPE escd_ack_seconds_max gauge\n"
      "escd_ack_seconds_max{core=\"0\"} 100\n";
  EXPECT_TRUE(text.starts_with(begin)) << text;
  EXPECT_NE(text.find(middle), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with(end)) << text;
}

TEST(Registry, prints_a_counter_of_nanoseconds_in_seconds) {
  Registry registry;
  registry.scope().counter("busy_seconds_total", "", {}, Unit::nanoseconds_as_seconds).add(1'500'000'000);
  std::string text;
  registry.write_prometheus(text);
  EXPECT_TRUE(text.ends_with("\nbusy_seconds_total 1.5\n")) << text;
}

TEST(Registry, leaves_out_a_gauge_of_which_nothing_is_known) {
  Registry registry;
  Gauge& lag = registry.scope().gauge("lag", "How far behind.", {{"group", "a"}});
  registry.scope().gauge("lag", "", {{"group", "b"}}).set(7);
  const auto dump = [&] {
    std::string text;
    registry.write_prometheus(text);
    return text;
  };
  const std::string header = "# HELP lag How far behind.\n# TYPE lag gauge\n";
  lag.set_unknown();
  EXPECT_EQ(dump(), header + "lag{group=\"b\"} 7\n");
  lag.set(-1);
  EXPECT_EQ(dump(), header + "lag{group=\"a\"} -1\nlag{group=\"b\"} 7\n");
}

TEST(Registry, escapes_label_values_and_help) {
  Registry registry;
  registry.scope().gauge("g", "back\\slash\nline", {{"topic", "a\"b\\c\nd"}}).set(1);
  std::string text;
  registry.write_prometheus(text);
  EXPECT_EQ(text,
            "# HELP g back\\\\slash\\nline\n"
            "# TYPE g gauge\n"
            "g{topic=\"a\\\"b\\\\c\\nd\"} 1\n");
}

TEST(Registry, returns_the_same_cell_for_the_same_name_and_labels) {
  Registry registry;
  Scope& scope = registry.scope();
  Counter& first = scope.counter("c", "", {{"api", "produce"}});
  EXPECT_EQ(&first, &scope.counter("c", "", {{"api", "produce"}}));
  EXPECT_NE(&first, &scope.counter("c", "", {{"api", "fetch"}}));
}

TEST(Registry, cells_of_two_scopes_never_share_a_cache_line) {
  Registry registry;
  Scope& left = registry.scope({{"core", "0"}});
  Scope& right = registry.scope({{"core", "1"}});
  std::vector<std::uintptr_t> left_lines;
  std::vector<std::uintptr_t> right_lines;
  for (int i = 0; i < 200; ++i) {
    const std::string name = "c" + std::to_string(i);
    left_lines.push_back(reinterpret_cast<std::uintptr_t>(&left.counter(name, "")) / 64);
    right_lines.push_back(reinterpret_cast<std::uintptr_t>(&right.counter(name, "")) / 64);
  }
  for (const auto line : left_lines)
    EXPECT_EQ(std::count(right_lines.begin(), right_lines.end(), line), 0) << "shared line";
}

TEST(Registry, totals_a_counter_over_all_scopes) {
  Registry registry;
  registry.scope({{"core", "0"}}).counter("c", "").add(5);
  registry.scope({{"core", "1"}}).counter("c", "").add(6);
  EXPECT_EQ(registry.counter_total("c"), 11u);
  EXPECT_EQ(registry.counter_total("unknown"), 0u);
}

TEST(Registry, may_be_dumped_while_a_core_counts) {
  Registry registry;
  Scope& scope = registry.scope();
  Counter& counter = scope.counter("c", "");
  Histogram& histogram = scope.histogram("h", "", Unit::none);
  std::thread core([&] {
    for (int i = 0; i < 100'000; ++i) {
      counter.add();
      histogram.record(i);
    }
  });
  std::string text;
  for (int i = 0; i < 20; ++i) registry.write_prometheus(text);
  core.join();
  EXPECT_EQ(counter.value(), 100'000u);
  EXPECT_EQ(histogram.count(), 100'000u);
}

TEST(Registry, may_be_dumped_while_a_core_registers) {
  Registry registry;
  Scope& scope = registry.scope();
  std::thread core([&] {
    for (int i = 0; i < 2'000; ++i) {
      const std::string name = {'c', static_cast<char>('a' + i % 20)};
      scope.counter(name, "", {{"topic", std::to_string(i)}}).add(7);
    }
  });
  std::size_t before = 0;
  for (int i = 0; i < 50; ++i) {
    std::string text;
    registry.write_prometheus(text);
    EXPECT_GE(text.size(), before) << "a series that was there is gone";
    before = text.size();
  }
  core.join();
  std::string text;
  registry.write_prometheus(text);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2'000 + 20 * 2);
  EXPECT_EQ(registry.counter_total("cd"), 700u);
}

TEST(RegistryDeathTest, refuses_names_that_prometheus_would_not_parse) {
  Registry registry;
  EXPECT_DEATH(registry.scope().counter("9lives", ""), "metric name");
  EXPECT_DEATH(registry.scope().counter("c", "", {{"a-b", "x"}}), "label name");
}

TEST(RegistryDeathTest, refuses_one_name_with_two_kinds) {
  Registry registry;
  registry.scope().counter("c", "");
  EXPECT_DEATH(registry.scope().gauge("c", ""), "two kinds");
}

}  // namespace
}  // namespace esc::obs
