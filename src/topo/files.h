// Small text files of /sys and /proc.
#pragma once

#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include "esc/topo/cpu_set.h"

namespace esc::topo {

// Unset when the file does not exist or cannot be read.
[[nodiscard]] inline std::optional<std::string> read_text(const std::string& path) {
  std::ifstream in(path);
  if (!in) return std::nullopt;
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad()) return std::nullopt;
  return text;
}

// Empty when the file is missing, unreadable, or holds something else ("(null)" in nohz_full).
[[nodiscard]] inline CpuSet read_cpu_list(const std::string& path) {
  const auto text = read_text(path);
  if (!text) return {};
  return CpuSet::parse(*text).value_or(CpuSet{});
}

}  // namespace esc::topo
