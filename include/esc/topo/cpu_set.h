// A set of logical CPUs by kernel number, as the kernel prints it: "0-3,8,10-11".
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "esc/base/result.h"

namespace esc::topo {

inline constexpr std::uint32_t kCpusMax = 1024;  // the size of glibc's cpu_set_t

class CpuSet {
 public:
  CpuSet() = default;
  CpuSet(std::initializer_list<std::uint32_t> cpus) {
    for (std::uint32_t cpu : cpus) add(cpu);
  }

  // Accepts the kernel's list format; blanks around it and an empty text (empty set) are fine.
  [[nodiscard]] static Result<CpuSet> parse(std::string_view text);

  void add(std::uint32_t cpu);  // asserts cpu < kCpusMax
  void remove(std::uint32_t cpu);
  [[nodiscard]] bool contains(std::uint32_t cpu) const { return cpu < kCpusMax && bits_.test(cpu); }
  [[nodiscard]] bool empty() const { return bits_.none(); }
  [[nodiscard]] std::size_t count() const { return bits_.count(); }
  [[nodiscard]] std::uint32_t first() const;                   // asserts that the set is not empty
  [[nodiscard]] std::vector<std::uint32_t> to_vector() const;  // ascending
  [[nodiscard]] std::string to_string() const;                 // the kernel's list format

  [[nodiscard]] bool contains_all(const CpuSet& other) const { return (other.bits_ & ~bits_).none(); }
  [[nodiscard]] bool intersects(const CpuSet& other) const { return (other.bits_ & bits_).any(); }
  friend CpuSet operator&(const CpuSet& a, const CpuSet& b) { return CpuSet(a.bits_ & b.bits_); }
  friend CpuSet operator|(const CpuSet& a, const CpuSet& b) { return CpuSet(a.bits_ | b.bits_); }
  friend CpuSet operator-(const CpuSet& a, const CpuSet& b) { return CpuSet(a.bits_ & ~b.bits_); }
  friend bool operator==(const CpuSet& a, const CpuSet& b) { return a.bits_ == b.bits_; }

 private:
  explicit CpuSet(const std::bitset<kCpusMax>& bits) : bits_(bits) {}
  std::bitset<kCpusMax> bits_;
};

}  // namespace esc::topo
