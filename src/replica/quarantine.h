// Damaged data of a group are put aside, whole: nothing is deleted, and nobody takes part with what is left
// of them. Private to the group.
//
// Threading: recovery, blocking. Errors: sentences with the paths.
#pragma once

#include <string>

#include "esc/base/result.h"
#include "esc/io/disk.h"

namespace esc::replica {

// Renames the group's directory to the first free `<directory>.damaged-<n>`, before it that of the log if it
// lies elsewhere, and makes that durable. Returns the new name of the group's directory.
[[nodiscard]] Result<std::string> put_aside(io::Files& files, const std::string& data_directory,
                                            const std::string& wal_directory);

}  // namespace esc::replica
