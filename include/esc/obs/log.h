// Structured log lines: an event name and key=value fields, as text or JSON lines.
//
//   log.warn("connection_refused", {{"peer", address}, {"open", open_count}, {"limit", limit}});
//   -> 2026-03-01T12:00:00.123456Z WARN  core0 connection_refused peer=10.0.0.7:4711 open=5000 limit=5000
//
// A data core never blocks or allocates here: the line is formatted into a fixed-size slot of a bounded
// lock-free ring, and a housekeeping thread writes it out with Logger::drain(). When the ring is full
// the line is counted and dropped; drain() later says how many. In synchronous mode (startup, tools)
// each line is written at once by the caller.
//
// Threading: any thread may log through its own LogSource; one thread at a time drains (a second
// one returns at once). set_synchronous only while no other thread logs.
// Ownership: the Logger outlives its sources. There is no global logger; pass LogSource down by value.
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <variant>

#include "esc/base/ids.h"
#include "esc/base/result.h"
#include "esc/base/units.h"

namespace esc::obs {

enum class Level : std::uint8_t { debug, info, warn, error, off };
[[nodiscard]] std::string_view to_string(Level level);

enum class LogFormat : std::uint8_t { text, json };

// One key=value of a line. Keys are snake_case literals. Text is borrowed for the duration of the call.
class Field {
 public:
  using Value = std::variant<std::int64_t, std::uint64_t, double, bool, std::string_view>;

  Field(std::string_view name, bool v) : key(name), value(v) {}
  Field(std::string_view name, double v) : key(name), value(v) {}
  Field(std::string_view name, std::string_view v) : key(name), value(v) {}
  Field(std::string_view name, const char* v) : key(name), value(std::string_view(v)) {}
  Field(std::string_view name, Errc v) : key(name), value(esc::to_string(v)) {}
  template <std::signed_integral T>
  Field(std::string_view name, T v) : key(name), value(static_cast<std::int64_t>(v)) {}
  template <std::unsigned_integral T>
    requires(!std::same_as<T, bool>)
  Field(std::string_view name, T v) : key(name), value(static_cast<std::uint64_t>(v)) {}
  template <class Tag, class Rep>
  Field(std::string_view name, Strong<Tag, Rep> v) : Field(name, v.value()) {}

  std::string_view key;
  Value value;
};
using Fields = std::initializer_list<Field>;

struct LoggerOptions {
  Level level = Level::info;
  LogFormat format = LogFormat::text;
  int fd = 2;                      // stderr; not closed by the Logger
  std::uint32_t ring_lines = 512;  // a power of two; 1 KiB each
  bool synchronous = true;         // the composition root switches to asynchronous before the cores start
  // Nanoseconds since the epoch. Replaceable, so that simulated code can log in simulated time.
  Nanos (*wall_nanos)() = nullptr;  // null: CLOCK_REALTIME
};

class Logger;

// State of one rate-limited call site (or one per reason), a member of whoever logs there: at most
// `burst` lines per `interval`. The next line that passes carries suppressed=<how many did not>.
struct LogLimiter {
  std::uint32_t burst = 5;
  Nanos interval = 10 * kSecond;
  // Private to LogSource:
  Nanos window_start = 0;
  std::uint32_t passed = 0;
  std::uint64_t suppressed = 0;
};

// A cheap handle that names who speaks ("core0", "main"). A default-constructed one is silent.
class LogSource {
 public:
  LogSource() = default;
  LogSource(Logger& logger, std::string_view name);  // the first 15 bytes of the name are kept

  [[nodiscard]] bool enabled(Level level) const;
  void log(Level level, std::string_view event, Fields fields = {}) const;
  void debug(std::string_view event, Fields fields = {}) const { log(Level::debug, event, fields); }
  void info(std::string_view event, Fields fields = {}) const { log(Level::info, event, fields); }
  void warn(std::string_view event, Fields fields = {}) const { log(Level::warn, event, fields); }
  void error(std::string_view event, Fields fields = {}) const { log(Level::error, event, fields); }
  // For anything an outsider can trigger. Returns whether the line passed.
  bool log_limited(LogLimiter& limiter, Level level, std::string_view event, Fields fields = {}) const;

 private:
  void emit(Level level, std::string_view event, Fields fields, std::uint64_t suppressed) const;

  Logger* logger_ = nullptr;
  char name_[16] = {};
};

class Logger {
 public:
  explicit Logger(const LoggerOptions& options = {});
  ~Logger();  // drains
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  [[nodiscard]] LogSource source(std::string_view name) { return LogSource(*this, name); }

  // Housekeeping: writes what the ring holds; returns the lines written. Bounded by the ring's size.
  std::size_t drain();
  void set_synchronous(bool synchronous);
  void set_level(Level level) { level_.store(level, std::memory_order_relaxed); }
  [[nodiscard]] Level level() const { return level_.load(std::memory_order_relaxed); }
  // Lines dropped since start because the ring was full.
  [[nodiscard]] std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  friend class LogSource;
  struct Slot;

  [[nodiscard]] Nanos now() const { return wall_nanos_(); }
  [[nodiscard]] Slot* claim();
  void write_dropped_note();

  std::atomic<Level> level_;
  const LogFormat format_;
  const int fd_;
  Nanos (*const wall_nanos_)();
  std::atomic<bool> synchronous_;
  std::atomic_flag draining_ = ATOMIC_FLAG_INIT;
  std::uint64_t dropped_reported_ = 0;  // owned by the draining thread
  const std::uint64_t mask_;
  std::unique_ptr<Slot[]> slots_;
  alignas(64) std::atomic<std::uint64_t> tail_{0};  // next ticket of the producers
  alignas(64) std::uint64_t head_ = 0;              // owned by the draining thread
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace esc::obs
