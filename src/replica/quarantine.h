// Damaged data of a group are put aside, whole: nothing is deleted, and nobody takes part with what is left
// of them (docs/decisions/0020). Private to the group.
//
// Two steps, so that a crash between any two changes of names loses nothing: a mark in the group's directory
// says why, durably; whoever opens the group next moves its directories away and begins blank.
//
//   <data>/group-<g>/damaged            the mark: a sentence
//   <data>/group-<g>.damaged-<n>        what was put aside, the mark included
//   <wal>/group-<g>/wal.damaged-<n>     its log, when that lies elsewhere
//
// Threading: recovery, blocking. Errors: sentences with the paths.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "esc/base/result.h"
#include "esc/io/disk.h"

namespace esc::replica {

inline constexpr std::string_view kDamageMark = "damaged";

[[nodiscard]] Status mark_damaged(io::Files& files, const std::string& data_directory,
                                  const std::string& cause);

struct PutAside {
  std::string cause;  // what the mark says
  std::string data;   // where things are now
  std::string wal;
};

// Nothing without a mark.
[[nodiscard]] Result<std::optional<PutAside>> put_aside_if_marked(io::Files& files,
                                                                  const std::string& data_directory,
                                                                  const std::string& wal_directory);

// How many times data of the group were put aside, as far as they are still there.
[[nodiscard]] Result<std::uint32_t> count_put_aside(io::Files& files, const std::string& data_directory);

}  // namespace esc::replica
