#include "esc/ops/pages.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>
#include <string_view>

namespace esc::ops {
namespace {

class PagesTest : public ::testing::Test {
 protected:
  HttpAnswer get(std::string_view path) {
    const auto pages = node_pages(registry, {.version = "1.2.3", .commit = "abc"}, [this] { return state; });
    const auto page = std::ranges::find(pages, path, &HttpPage::path);
    return page == pages.end() ? HttpAnswer{.status = 404} : page->make();
  }
  // -1 when there is no such series.
  static double value(const std::string& text, const std::string& series) {
    const std::size_t at = text.find("\n" + series + " ");
    return at == std::string::npos ? -1 : std::strtod(text.c_str() + at + series.size() + 2, nullptr);
  }

  obs::Registry registry;
  NodeState state = NodeState::starting;
};

TEST_F(PagesTest, metrics_hold_the_registry_the_process_and_the_build) {
  registry.scope({{"core", "0"}}).counter("c_total", "Things.").add(3);
  const HttpAnswer answer = get("/metrics");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(value(answer.body, "c_total{core=\"0\"}"), 3);
  EXPECT_EQ(value(answer.body, "esc_build_info{version=\"1.2.3\",commit=\"abc\"}"), 1);
  EXPECT_GT(value(answer.body, "process_resident_memory_bytes"), 1'000'000);
  EXPECT_TRUE(answer.body.ends_with('\n'));
}

TEST_F(PagesTest, live_while_anybody_answers) {
  for (const NodeState now : {NodeState::starting, NodeState::ready, NodeState::stopping}) {
    state = now;
    EXPECT_EQ(get("/livez").status, 200);
    EXPECT_EQ(get("/livez").body, "{\"status\":\"alive\"}\n");
    EXPECT_EQ(get("/livez").content_type, "application/json");
  }
}

TEST_F(PagesTest, ready_between_start_and_stop_only) {
  EXPECT_EQ(get("/readyz").status, 503);
  EXPECT_EQ(get("/readyz").body, "{\"status\":\"starting\"}\n");
  state = NodeState::ready;
  EXPECT_EQ(get("/readyz").status, 200);
  EXPECT_EQ(get("/readyz").body, "{\"status\":\"ready\"}\n");
  state = NodeState::stopping;
  EXPECT_EQ(get("/readyz").status, 503);
  EXPECT_EQ(get("/readyz").body, "{\"status\":\"stopping\"}\n");
}

TEST(ProcessMetrics, tell_what_the_kernel_tells_of_this_process) {
  const auto measure = [](const std::string& name) {
    std::string text = "\n";
    write_process_metrics(text);
    const std::size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::strtod(text.c_str() + at + name.size() + 2, nullptr);
  };
  const double before = measure("process_open_fds");
  EXPECT_GE(before, 3);
  const int extra = ::dup(1);
  EXPECT_EQ(measure("process_open_fds"), before + 1);
  ::close(extra);
  EXPECT_GT(measure("process_max_fds"), before);

  const auto now = static_cast<double>(std::time(nullptr));
  EXPECT_LE(measure("process_start_time_seconds"), now + 1);
  EXPECT_GT(measure("process_start_time_seconds"), now - 3600);

  const double cpu = measure("process_cpu_seconds_total");
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  while (std::chrono::steady_clock::now() < until) {
  }
  EXPECT_GT(measure("process_cpu_seconds_total"), cpu);

  const double resident = measure("process_resident_memory_bytes");
  const std::string touched(std::size_t{64} * 1024 * 1024, 'x');
  EXPECT_GT(measure("process_resident_memory_bytes"), resident + 32.0 * 1024 * 1024) << touched.size();
  EXPECT_GT(measure("process_virtual_memory_bytes"), measure("process_resident_memory_bytes"));
}

TEST(ProcessMetrics, numbers_are_whole_not_rounded_to_six_digits) {
  std::string text;
  write_process_metrics(text);
  EXPECT_EQ(text.find("e+"), std::string::npos) << text;
}

}  // namespace
}  // namespace esc::ops
