#include "esc/obs/log.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <string>
#include <thread>
#include <vector>

namespace esc::obs {
namespace {

// 2026-03-01T12:00:00.123456Z, moved by tests that need time to pass.
thread_local Nanos test_now = 1'772'366'400'123'456'789;
Nanos fixed_now() {
  return test_now;
}

// Collects what a Logger writes.
class Sink {
 public:
  Sink() : fd_(memfd_create("log", 0)) {}
  ~Sink() { close(fd_); }
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] std::string text() const {
    std::string text(static_cast<std::size_t>(lseek(fd_, 0, SEEK_END)), '\0');
    EXPECT_EQ(pread(fd_, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    return text;
  }

 private:
  int fd_;
};

LoggerOptions options(const Sink& sink, LogFormat format = LogFormat::text) {
  return {.level = Level::info,
          .format = format,
          .fd = sink.fd(),
          .ring_lines = 4,
          .synchronous = true,
          .wall_nanos = &fixed_now};
}

std::size_t count_lines(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

TEST(Log, writes_text_lines_with_event_and_fields) {
  const Sink sink;
  Logger logger(options(sink));
  logger.source("core0").warn("wal_torn_tail", {{"file", "/data/wal 1"},
                                                {"position", 4096u},
                                                {"delta", -3},
                                                {"index", Index(7)},
                                                {"ratio", 0.5},
                                                {"fatal", false},
                                                {"cause", Errc::torn},
                                                {"empty", ""}});
  EXPECT_EQ(
      sink.text(),
      "2026-03-01T12:00:00.123456Z WARN  core0 wal_torn_tail file=\"/data/wal 1\" position=4096 delta=-3 "
      "index=7 ratio=0.5 fatal=false cause=\"" +
          std::string(esc::to_string(Errc::torn)) + "\" empty=\"\"\n");
}

TEST(Log, writes_json_lines) {
  const Sink sink;
  Logger logger(options(sink, LogFormat::json));
  logger.source("main").error(
      "bad", {{"text", "a\"b\\c\n\x01"}, {"n", 1}, {"nan", std::numeric_limits<double>::quiet_NaN()}});
  EXPECT_EQ(
      sink.text(),
      "{\"time\":\"2026-03-01T12:00:00.123456Z\",\"level\":\"error\",\"source\":\"main\",\"event\":\"bad\","
      "\"text\":\"a\\\"b\\\\c\\n\\u0001\",\"n\":1,\"nan\":null}\n");
}

TEST(Log, control_bytes_from_outside_cannot_forge_a_line) {
  const Sink sink;
  Logger logger(options(sink));
  logger.source("core0").warn("garbage", {{"client", "x\nERROR forged"}});
  EXPECT_EQ(count_lines(sink.text()), 1u);
}

TEST(Log, leaves_out_lines_below_the_level) {
  const Sink sink;
  Logger logger(options(sink));
  const LogSource log = logger.source("main");
  log.debug("quiet");
  EXPECT_EQ(sink.text(), "");
  logger.set_level(Level::debug);
  log.debug("loud");
  EXPECT_EQ(count_lines(sink.text()), 1u);
}

TEST(Log, says_so_when_a_line_does_not_fit) {
  const Sink sink;
  Logger logger(options(sink, LogFormat::json));
  logger.source("main").info("long", {{"a", 1}, {"b", std::string(2000, 'x')}, {"c", 2}});
  const std::string text = sink.text();
  EXPECT_NE(text.find("\"a\":1,\"truncated\":true}\n"), std::string::npos) << text;
}

TEST(Log, survives_an_absurd_event_name_and_source) {
  const Sink sink;
  Logger logger(options(sink, LogFormat::json));
  logger.source(std::string(500, '\x01')).info(std::string(5000, '\x01'));
  EXPECT_EQ(count_lines(sink.text()), 1u);
}

TEST(Log, a_default_source_is_silent) {
  const LogSource log;
  EXPECT_FALSE(log.enabled(Level::error));
  log.error("nobody_listens");
}

TEST(Log, asynchronous_lines_wait_for_the_draining_thread) {
  const Sink sink;
  Logger logger(options(sink));
  logger.set_synchronous(false);
  const LogSource log = logger.source("core0");
  log.info("one");
  log.info("two");
  EXPECT_EQ(sink.text(), "");
  EXPECT_EQ(logger.drain(), 2u);
  const std::string text = sink.text();
  EXPECT_LT(text.find("one"), text.find("two"));
  EXPECT_EQ(logger.drain(), 0u);
}

TEST(Log, a_full_ring_drops_lines_counts_them_and_says_so_later) {
  const Sink sink;
  Logger logger(options(sink));
  logger.set_synchronous(false);
  const LogSource log = logger.source("core0");
  for (int i = 0; i < 7; ++i) log.info("line", {{"i", i}});
  EXPECT_EQ(logger.dropped(), 3u);
  EXPECT_EQ(logger.drain(), 4u);
  EXPECT_NE(sink.text().find("log_lines_dropped count=3 total=3"), std::string::npos);
  log.info("after");
  EXPECT_EQ(logger.drain(), 1u);
  EXPECT_EQ(count_lines(sink.text()), 6u);
}

TEST(Log, limited_call_sites_pass_a_burst_and_report_what_they_suppressed) {
  const Sink sink;
  Logger logger(options(sink));
  const LogSource log = logger.source("core0");
  LogLimiter limiter{.burst = 2, .interval = kSecond};
  int passed = 0;
  for (int i = 0; i < 10; ++i) passed += log.log_limited(limiter, Level::warn, "garbage") ? 1 : 0;
  EXPECT_EQ(passed, 2);
  test_now += kSecond;
  EXPECT_TRUE(log.log_limited(limiter, Level::warn, "garbage"));
  EXPECT_NE(sink.text().find("garbage suppressed=8\n"), std::string::npos);
  EXPECT_EQ(count_lines(sink.text()), 3u);
}

TEST(Log, many_threads_lose_no_line_that_was_not_counted_as_dropped) {
  const Sink sink;
  LoggerOptions small = options(sink);
  small.ring_lines = 64;
  small.wall_nanos = nullptr;
  Logger logger(small);
  logger.set_synchronous(false);
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kLines = 3000;
  std::atomic<std::size_t> running{kThreads};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const LogSource log = logger.source("core" + std::to_string(t));
      for (std::size_t i = 0; i < kLines; ++i) log.info("line", {{"i", i}});
      running.fetch_sub(1);
    });
  }
  std::size_t drained = 0;
  while (running.load() > 0) drained += logger.drain();
  for (auto& thread : threads) thread.join();
  while (const std::size_t n = logger.drain()) drained += n;
  EXPECT_EQ(drained + logger.dropped(), kThreads * kLines);
}

}  // namespace
}  // namespace esc::obs
