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

TEST(Registry, prints_a_histogram_as_summary_in_seconds) {
  Registry registry;
  Histogram& latency =
      registry.scope().histogram("escd_ack_seconds", "Time to acknowledge.", Unit::nanoseconds_as_seconds);
  latency.record_many(200, 1000);
  std::string text;
  registry.write_prometheus(text);
  EXPECT_EQ(text,
            "# HELP escd_ack_seconds Time to acknowledge.\n"
            "# TYPE escd_ack_seconds summary\n"
            "escd_ack_seconds{quantile=\"0.5\"} 2e-07\n"
            "escd_ack_seconds{quantile=\"0.9\"} 2e-07\n"
            "escd_ack_seconds{quantile=\"0.99\"} 2e-07\n"
            "escd_ack_seconds{quantile=\"0.999\"} 2e-07\n"
            "escd_ack_seconds_sum 2e-04\n"
            "escd_ack_seconds_count 1000\n"
            "# HELP escd_ack_seconds_max Time to acknowledge.\n"
            "# TYPE escd_ack_seconds_max gauge\n"
            "escd_ack_seconds_max 2e-07\n");
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
