#include "quarantine.h"

namespace esc::replica {
namespace {

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

// A crash in between leaves a group without a log beside a log that nobody looks at: found damaged again.
Status move(io::Files& files, const std::string& from, const std::string& to) {
  auto exists = files.exists(from);
  if (!exists) return std::unexpected(std::move(exists.error()));
  if (!*exists) return {};
  if (Status status = files.rename(from, to); !status) return status;
  return files.sync_directory(parent_of(to));
}

}  // namespace

Result<std::string> put_aside(io::Files& files, const std::string& data_directory,
                              const std::string& wal_directory) {
  constexpr int kTries = 1000;
  for (int number = 1; number <= kTries; ++number) {
    const std::string suffix = ".damaged-" + std::to_string(number);
    bool taken = false;
    for (const std::string& path : {data_directory + suffix, wal_directory + suffix}) {
      auto exists = files.exists(path);
      if (!exists) return std::unexpected(std::move(exists.error()));
      taken = taken || *exists;
    }
    if (taken) continue;
    const bool inside = wal_directory.starts_with(data_directory + "/");
    if (!inside) {
      if (Status status = move(files, wal_directory, wal_directory + suffix); !status)
        return std::unexpected(std::move(status.error()));
    }
    if (Status status = move(files, data_directory, data_directory + suffix); !status)
      return std::unexpected(std::move(status.error()));
    return data_directory + suffix;
  }
  return fail(Errc::busy, data_directory + " has been found damaged " + std::to_string(kTries) +
                              " times: replace the disk, or remove what was put aside");
}

}  // namespace esc::replica
