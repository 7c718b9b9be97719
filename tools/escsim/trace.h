// What happened, in order: folded into a hash that two runs of one seed must share, and printed on request.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "esc/base/units.h"
#include "esc/sim/clock.h"

namespace esc::escsim {

class Trace {
 public:
  Trace(const sim::SimClock& clock, bool print) : clock_(clock), print_(print) {}

  // Hot: a step of a core, a delivery. Numbers only.
  void fold(std::uint64_t a, std::uint64_t b = 0, std::uint64_t c = 0) {
    hash_ = mix(mix(mix(hash_, static_cast<std::uint64_t>(clock_.now())), a), mix(b, c));
  }
  // Rare: faults, leaders, clients. `who` is a node's or client's name.
  template <class... Args>
  void event(std::string_view who, fmt::format_string<Args...> format, Args&&... args) {
    const std::string text = fmt::format(format, std::forward<Args>(args)...);
    for (const char c : text) hash_ = mix(hash_, static_cast<unsigned char>(c));
    fold(text.size());
    if (print_) print(who, text);
  }
  // Printed, not hashed: for what follows from what is hashed.
  template <class... Args>
  void note(std::string_view who, fmt::format_string<Args...> format, Args&&... args) const {
    if (print_) print(who, fmt::format(format, std::forward<Args>(args)...));
  }
  [[nodiscard]] bool printing() const { return print_; }
  [[nodiscard]] std::uint64_t hash() const { return hash_; }

 private:
  static std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
    hash ^= value + 0x9e3779b97f4a7c15ULL + (hash << 6) + (hash >> 2);
    return hash * 0xd1342543de82ef95ULL;
  }
  void print(std::string_view who, std::string_view text) const {
    fmt::print("{:>12.6f}  {:<8} {}\n", static_cast<double>(clock_.now()) / 1e9, who, text);
    std::fflush(stdout);
  }

  const sim::SimClock& clock_;
  bool print_;
  std::uint64_t hash_ = 0;
};

}  // namespace esc::escsim
