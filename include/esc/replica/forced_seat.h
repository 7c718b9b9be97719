// A stopped node's data of a group, made the group's only member from the next start on: for when a majority
// of the members has lost its disks for good (docs/decisions/0024). What only the others had is given up.
//
// Threading: offline tools; blocking. Errors: invalid_argument when the data are not a voter's, corruption
// when they are damaged, else what reading and writing give; sentences with the paths. Nothing is changed
// then.
#pragma once

#include <string>

#include "esc/base/ids.h"
#include "esc/base/result.h"
#include "esc/io/disk.h"

namespace esc::replica {

struct SeatPlace {
  GroupId group{};
  NodeId node{};
  std::string data_directory;  // of the group
  std::string wal_directory;
};

struct SeatReport {
  Index last_index;  // of the log, as far as it can be read
  Term last_term;
  Index commit;         // known to be committed; more may be
  std::string voters;   // "1, 2, 3": who they were, as far as this node had heard
  bool wanted = false;  // asked for already
};

// Changes nothing. Of two survivors the one with the higher last term, then index, has more.
[[nodiscard]] Result<SeatReport> inspect_seat(io::Files& files, const SeatPlace& place);

// Durable when it returns. The same again changes nothing more.
[[nodiscard]] Status want_seat(io::Files& files, const SeatPlace& place);

// Whether the next start is to take it.
[[nodiscard]] bool seat_is_wanted(io::Files& files, const std::string& data_directory);

}  // namespace esc::replica
