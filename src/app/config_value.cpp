#include "config_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include "esc/app/config.h"

namespace esc::app {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t factor;
};

constexpr std::array kSizes = {
    Unit{"TiB", 1LL << 40},
    Unit{"GiB", 1LL << 30},
    Unit{"MiB", 1LL << 20},
    Unit{"KiB", 1LL << 10},
    Unit{"TB", 1'000'000'000'000},
    Unit{"GB", 1'000'000'000},
    Unit{"MB", 1'000'000},
    Unit{"kB", 1'000},
    Unit{"B", 1},
};

constexpr std::array kDurations = {
    Unit{"d", 86'400 * kSecond}, Unit{"h", 3'600 * kSecond}, Unit{"min", 60 * kSecond},
    Unit{"s", kSecond},          Unit{"ms", kMillisecond},   Unit{"us", kMicrosecond},
};

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    return lower(x) == lower(y);
  });
}

// Splits "64 MiB" into 64 and "MiB"; digits may be grouped as in TOML ("1_000").
std::optional<std::pair<std::int64_t, std::string_view>> split_number(std::string_view text) {
  std::string digits;
  while (!text.empty() &&
         ((text.front() >= '0' && text.front() <= '9') || (text.front() == '_' && !digits.empty()))) {
    if (text.front() != '_') digits += text.front();
    text.remove_prefix(1);
  }
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  if (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  return std::pair(number, text);
}

std::optional<std::int64_t> multiply(std::int64_t number, std::int64_t factor) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(number, factor, &product)) return std::nullopt;
  return product;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string_view leaf(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

}  // namespace

std::optional<std::int64_t> parse_integer(std::string_view text) {
  const bool negative = !text.empty() && text.front() == '-';
  const auto parts = split_number(negative ? text.substr(1) : text);
  if (!parts || !parts->second.empty()) return std::nullopt;
  return negative ? -parts->first : parts->first;
}

std::optional<std::int64_t> parse_size(std::string_view text) {
  const auto parts = split_number(text);
  if (!parts) return std::nullopt;
  if (parts->second.empty()) return parts->first;
  for (const Unit& unit : kSizes) {
    if (equal_ignoring_case(unit.name, parts->second)) return multiply(parts->first, unit.factor);
  }
  return std::nullopt;
}

std::optional<std::int64_t> parse_duration(std::string_view text, std::int64_t unit_ns) {
  const auto parts = split_number(text);
  if (!parts) return std::nullopt;
  if (parts->second.empty()) return parts->first;
  for (const Unit& unit : kDurations) {
    if (!equal_ignoring_case(unit.name, parts->second)) continue;
    if (unit.factor % unit_ns == 0) return multiply(parts->first, unit.factor / unit_ns);
    const std::int64_t divisor = unit_ns / unit.factor;
    if (parts->first % divisor != 0) return std::nullopt;
    return parts->first / divisor;
  }
  return std::nullopt;
}

std::string format_size(std::int64_t bytes) {
  for (const Unit& unit : kSizes) {
    // Decimal units would turn 1000 into "1kB"; operators of storage think in powers of two.
    const bool binary = unit.name.size() == 3 || unit.factor == 1;
    if (binary && bytes != 0 && bytes % unit.factor == 0)
      return fmt::format("{}{}", bytes / unit.factor, unit.name);
  }
  return fmt::format("{}B", bytes);
}

std::string format_duration(std::int64_t count, std::int64_t unit_ns) {
  for (const Unit& unit : kDurations) {
    if (unit.factor < unit_ns) break;
    const std::int64_t factor = unit.factor / unit_ns;
    if (count != 0 && count % factor == 0) return fmt::format("{}{}", count / factor, unit.name);
  }
  return fmt::format("{}{}", count, unit_ns == kMillisecond ? "ms" : "us");
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
  std::vector<std::pair<std::size_t, std::string_view>> near;
  for (const std::string_view candidate : candidates) {
    // The right key in the wrong section is as likely as a slip of the finger.
    std::size_t distance = edit_distance(word, candidate);
    if (leaf(word) == leaf(candidate)) distance = std::min<std::size_t>(distance, 1);
    distance = std::min(distance, edit_distance(leaf(word), leaf(candidate)) + 1);
    if (distance <= 1 + leaf(word).size() / 3) near.emplace_back(distance, candidate);
  }
  std::ranges::stable_sort(near, {}, [](const auto& entry) { return entry.first; });
  std::string text;
  for (std::size_t i = 0; i < near.size() && i < 3 && near[i].first == near[0].first; ++i) {
    text += fmt::format("{}{}", text.empty() ? "" : " or ", near[i].second);
  }
  return text;
}

std::string toml_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04X}", static_cast<unsigned>(byte));
    } else {
      out += c;
    }
  }
  return out + '"';
}

Result<HostPort> parse_host_port(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return fail(
        Errc::invalid_argument,
        fmt::format("{} is not HOST:PORT such as 127.0.0.1:9092 or [::1]:9092 ({})", toml_quoted(text), why));
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad("the port is missing");
  std::string_view host = text.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return bad("an IPv6 address needs brackets");
  }
  if (host.empty()) return bad("the host is missing");
  if (host.size() > 255) return bad("the host is longer than 255 characters");
  for (const char c : host) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      std::string_view(".-_:%").find(c) != std::string_view::npos;
    if (!fine) return bad("the host has a character that no host name has");
  }
  std::uint16_t port = 0;
  const std::string_view digits = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size()) {
    return bad("the port is not a number from 0 to 65535");
  }
  return HostPort{.host = std::string(host), .port = port};
}

std::string to_string(const HostPort& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", address.host, address.port)
            : fmt::format("{}:{}", address.host, address.port);
}

}  // namespace esc::app
