#include "line_format.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <ctime>

#include "esc/base/assert.h"

namespace esc::obs {

namespace {

// Room kept free for `truncated=true`, the closing brace and the newline.
constexpr std::size_t kReserve = 32;

// Appends while there is room; remembers when there was none. mark() and rewind() drop a partial field.
class Writer {
 public:
  explicit Writer(std::span<char> out) : out_(out), limit_(out.size() - kReserve) {}

  void text(std::string_view s) {
    if (overflow_ || s.size() > limit_ - used_) {
      overflow_ = true;
      return;
    }
    std::memcpy(out_.data() + used_, s.data(), s.size());
    used_ += s.size();
  }
  void byte(char c) { text({&c, 1}); }
  template <class Number>
  void number(Number value) {
    char digits[40];
    const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
    text({digits, static_cast<std::size_t>(end - digits)});
  }
  void padded(std::uint64_t value, unsigned width) {
    char digits[20];
    ESC_ASSERT(width <= sizeof digits);
    for (unsigned i = width; i > 0; --i) {
      digits[i - 1] = static_cast<char>('0' + value % 10);
      value /= 10;
    }
    text({digits, width});
  }
  // A string in double quotes with JSON escapes; bytes above 0x7e pass as they are (UTF-8).
  void quoted(std::string_view s) {
    static constexpr char kHex[] = "0123456789abcdef";
    byte('"');
    for (const char c : s) {
      const auto u = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        byte('\\');
        byte(c);
      } else if (c == '\n') {
        text("\\n");
      } else if (u < 0x20 || u == 0x7f) {
        text("\\u00");
        byte(kHex[u >> 4]);
        byte(kHex[u & 15]);
      } else {
        byte(c);
      }
    }
    byte('"');
  }

  [[nodiscard]] std::size_t mark() const { return used_; }
  [[nodiscard]] bool overflow() const { return overflow_; }
  void rewind(std::size_t mark) { used_ = mark; }
  // Uses the reserve: for the last few bytes only.
  void finish(std::string_view s) {
    ESC_ASSERT(s.size() <= out_.size() - used_);
    std::memcpy(out_.data() + used_, s.data(), s.size());
    used_ += s.size();
  }

 private:
  std::span<char> out_;
  std::size_t limit_;
  std::size_t used_ = 0;
  bool overflow_ = false;
};

// RFC 3339 in UTC with microseconds.
void append_time(Writer& w, Nanos wall_nanos) {
  const std::time_t seconds = wall_nanos / kSecond;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  w.padded(static_cast<std::uint64_t>(utc.tm_year) + 1900, 4);
  w.byte('-');
  w.padded(static_cast<std::uint64_t>(utc.tm_mon) + 1, 2);
  w.byte('-');
  w.padded(static_cast<std::uint64_t>(utc.tm_mday), 2);
  w.byte('T');
  w.padded(static_cast<std::uint64_t>(utc.tm_hour), 2);
  w.byte(':');
  w.padded(static_cast<std::uint64_t>(utc.tm_min), 2);
  w.byte(':');
  w.padded(static_cast<std::uint64_t>(utc.tm_sec), 2);
  w.byte('.');
  w.padded(static_cast<std::uint64_t>(wall_nanos % kSecond / kMicrosecond), 6);
  w.byte('Z');
}

// Text values stay bare when a reader can tell where they end.
bool needs_quotes(std::string_view s) {
  if (s.empty()) return true;
  for (const char c : s) {
    const auto u = static_cast<unsigned char>(c);
    if (u <= 0x20 || u == 0x7f || c == '"' || c == '=' || c == '\\') return true;
  }
  return false;
}

void append_value(Writer& w, const Field::Value& value, LogFormat format) {
  std::visit(
      [&](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, bool>) {
          w.text(v ? "true" : "false");
        } else if constexpr (std::is_same_v<T, std::string_view>) {
          if (format == LogFormat::json || needs_quotes(v)) {
            w.quoted(v);
          } else {
            w.text(v);
          }
        } else if constexpr (std::is_same_v<T, double>) {
          if (std::isfinite(v)) {
            w.number(v);
          } else {
            w.text(format == LogFormat::json ? "null" : "nan");
          }
        } else {
          w.number(v);
        }
      },
      value);
}

void append_field(Writer& w, const Field& field, LogFormat format) {
  if (format == LogFormat::json) {
    w.byte(',');
    w.quoted(field.key);
    w.byte(':');
  } else {
    w.byte(' ');
    w.text(field.key);
    w.byte('=');
  }
  append_value(w, field.value, format);
}

void append_head(Writer& w, const LineInput& input) {
  const std::string_view level = to_string(input.level);
  if (input.format == LogFormat::json) {
    w.text("{\"time\":\"");
    append_time(w, input.wall_nanos);
    w.text("\",\"level\":\"");
    w.text(level);
    w.text("\",\"source\":");
    w.quoted(input.source);
    w.text(",\"event\":");
    w.quoted(input.event);
    return;
  }
  append_time(w, input.wall_nanos);
  w.byte(' ');
  for (const char c : level) w.byte(static_cast<char>(c - 'a' + 'A'));
  w.text(std::string_view("      ").substr(level.size()));
  w.text(input.source);
  w.byte(' ');
  w.text(input.event);
}

}  // namespace

std::size_t format_line(std::span<char> out, const LineInput& input) {
  ESC_ASSERT(out.size() >= kLineBytesMax);
  const bool json = input.format == LogFormat::json;
  Writer w(out.first(kLineBytesMax));
  LineInput head = input;
  head.event = input.event.substr(0, 100);  // so that the head alone can never overflow
  append_head(w, head);
  ESC_ASSERT(!w.overflow());
  bool truncated = false;
  for (const Field& field : input.fields) {
    const std::size_t mark = w.mark();
    append_field(w, field, input.format);
    if (!w.overflow()) continue;
    w.rewind(mark);
    truncated = true;
    break;
  }
  if (input.suppressed != 0 && !truncated) {
    const std::size_t mark = w.mark();
    append_field(w, Field("suppressed", input.suppressed), input.format);
    if (w.overflow()) {
      w.rewind(mark);
      truncated = true;
    }
  }
  if (truncated) w.finish(json ? ",\"truncated\":true" : " truncated=true");
  w.finish(json ? "}\n" : "\n");
  return w.mark();
}

}  // namespace esc::obs
