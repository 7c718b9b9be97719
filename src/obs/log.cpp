#include "esc/obs/log.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "esc/base/assert.h"
#include "line_format.h"

namespace esc::obs {

// One line. `sequence` is the ticket protocol of a bounded queue with many producers: it equals the
// ticket when the slot is free for it, ticket + 1 when the line is complete.
struct alignas(64) Logger::Slot {
  std::atomic<std::uint64_t> sequence{0};
  std::uint32_t length = 0;
  char text[kLineBytesMax] = {};
};

namespace {

Nanos realtime_nanos() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return Nanos{now.tv_sec} * kSecond + now.tv_nsec;
}

// A log line that cannot be written has nowhere to be reported: errors other than EINTR end the attempt.
void write_all(int fd, const char* text, std::size_t length) {
  while (length > 0) {
    const ssize_t written = ::write(fd, text, length);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text += written;
    length -= static_cast<std::size_t>(written);
  }
}

}  // namespace

std::string_view to_string(Level level) {
  switch (level) {
    case Level::debug: return "debug";
    case Level::info: return "info";
    case Level::warn: return "warn";
    case Level::error: return "error";
    case Level::off: return "off";
  }
  ESC_UNREACHABLE("level");
}

Logger::Logger(const LoggerOptions& options)
    : level_(options.level),
      format_(options.format),
      fd_(options.fd),
      wall_nanos_(options.wall_nanos != nullptr ? options.wall_nanos : &realtime_nanos),
      synchronous_(options.synchronous),
      mask_(options.ring_lines - 1),
      slots_(std::make_unique<Slot[]>(options.ring_lines)) {
  ESC_ASSERT_MSG(std::has_single_bit(options.ring_lines), "ring_lines must be a power of two");
  static_assert(sizeof(Slot) == 1024);
  for (std::uint64_t i = 0; i <= mask_; ++i) slots_[i].sequence.store(i, std::memory_order_relaxed);
}

Logger::~Logger() {
  drain();
}

void Logger::set_synchronous(bool synchronous) {
  synchronous_.store(synchronous, std::memory_order_relaxed);
  if (synchronous) drain();
}

// A free slot, or null when the ring is full. The caller fills it and publishes sequence + 1.
Logger::Slot* Logger::claim() {
  std::uint64_t ticket = tail_.load(std::memory_order_relaxed);
  while (true) {
    Slot& slot = slots_[ticket & mask_];
    // Acquire pairs with drain()'s release: the consumer has finished reading the slot's last line.
    const std::uint64_t sequence = slot.sequence.load(std::memory_order_acquire);
    if (sequence == ticket) {
      if (tail_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_relaxed)) return &slot;
    } else if (sequence < ticket) {
      return nullptr;
    } else {
      ticket = tail_.load(std::memory_order_relaxed);
    }
  }
}

std::size_t Logger::drain() {
  // Acquire and release order one draining thread's use of head_ before the next one's.
  if (draining_.test_and_set(std::memory_order_acquire)) return 0;
  std::size_t lines = 0;
  while (lines <= mask_) {
    Slot& slot = slots_[head_ & mask_];
    // Acquire pairs with the producer's release in emit(): the text is complete.
    if (slot.sequence.load(std::memory_order_acquire) != head_ + 1) break;
    write_all(fd_, slot.text, slot.length);
    slot.sequence.store(head_ + mask_ + 1, std::memory_order_release);
    ++head_;
    ++lines;
  }
  write_dropped_note();
  draining_.clear(std::memory_order_release);
  return lines;
}

void Logger::write_dropped_note() {
  const std::uint64_t dropped = dropped_.load(std::memory_order_relaxed);
  if (dropped == dropped_reported_) return;
  char text[kLineBytesMax];
  const std::size_t length =
      format_line(text, {.format = format_,
                         .wall_nanos = now(),
                         .level = Level::warn,
                         .source = "log",
                         .event = "log_lines_dropped",
                         .fields = {{"count", dropped - dropped_reported_}, {"total", dropped}},
                         .suppressed = 0});
  write_all(fd_, text, length);
  dropped_reported_ = dropped;
}

LogSource::LogSource(Logger& logger, std::string_view name) : logger_(&logger) {
  std::memcpy(name_, name.data(), std::min(name.size(), sizeof name_ - 1));
}

bool LogSource::enabled(Level level) const {
  return logger_ != nullptr && level >= logger_->level();
}

void LogSource::log(Level level, std::string_view event, Fields fields) const {
  if (enabled(level)) emit(level, event, fields, 0);
}

bool LogSource::log_limited(LogLimiter& limiter, Level level, std::string_view event, Fields fields) const {
  if (!enabled(level)) return false;
  const Nanos now = logger_->now();
  // A clock that jumped back opens a new window too, or a wrong clock could silence the site for long.
  if (now - limiter.window_start >= limiter.interval || now < limiter.window_start) {
    limiter.window_start = now;
    limiter.passed = 0;
  }
  if (limiter.passed >= limiter.burst) {
    ++limiter.suppressed;
    return false;
  }
  ++limiter.passed;
  emit(level, event, fields, std::exchange(limiter.suppressed, 0));
  return true;
}

void LogSource::emit(Level level, std::string_view event, Fields fields, std::uint64_t suppressed) const {
  Logger& logger = *logger_;
  const LineInput input{.format = logger.format_,
                        .wall_nanos = logger.now(),
                        .level = level,
                        .source = name_,
                        .event = event,
                        .fields = fields,
                        .suppressed = suppressed};
  if (logger.synchronous_.load(std::memory_order_relaxed)) {
    char text[kLineBytesMax];
    write_all(logger.fd_, text, format_line(text, input));
    return;
  }
  Logger::Slot* slot = logger.claim();
  if (slot == nullptr) {
    logger.dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  slot->length = static_cast<std::uint32_t>(format_line(slot->text, input));
  // Release pairs with drain()'s acquire. The claimed slot's sequence is its ticket.
  slot->sequence.store(slot->sequence.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

}  // namespace esc::obs
