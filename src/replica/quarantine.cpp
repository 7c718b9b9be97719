#include "quarantine.h"

#include <algorithm>

#include "esc/base/units.h"

namespace esc::replica {
namespace {

constexpr std::string_view kSuffix = ".damaged-";
constexpr std::uint64_t kCauseBytesMax = 16 * kKiB;
constexpr int kTries = 16;  // a disk that does this more often is to be replaced

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status move(io::Files& files, const std::string& from, const std::string& to) {
  const auto exists = files.exists(from);
  if (!exists) return std::unexpected(exists.error());
  if (!*exists) return {};
  if (Status status = files.rename(from, to); !status) return status;
  return files.sync_directory(parent_of(to));
}

// A number that neither of the two has used.
Result<std::string> free_suffix(io::Files& files, const std::string& data, const std::string& wal) {
  for (int number = 1; number <= kTries; ++number) {
    std::string suffix = std::string(kSuffix) + std::to_string(number);
    bool taken = false;
    for (const std::string& path : {data + suffix, wal + suffix}) {
      const auto exists = files.exists(path);
      if (!exists) return std::unexpected(exists.error());
      taken = taken || *exists;
    }
    if (!taken) return suffix;
  }
  return fail(Errc::too_large, data + " has been found damaged " + std::to_string(kTries) +
                                   " times: replace the disk, or remove what was put aside");
}

}  // namespace

Status mark_damaged(io::Files& files, const std::string& data_directory, const std::string& cause) {
  return io::write_file_atomically(files, data_directory + "/" + std::string(kDamageMark), as_bytes(cause));
}

Result<std::optional<PutAside>> put_aside_if_marked(io::Files& files, const std::string& data_directory,
                                                    const std::string& wal_directory) {
  const std::string mark = data_directory + "/" + std::string(kDamageMark);
  const auto marked = files.exists(mark);
  if (!marked) return std::unexpected(marked.error());
  if (!*marked) return std::nullopt;
  const auto cause = io::read_whole_file(files, mark, kCauseBytesMax);
  if (!cause) return std::unexpected(cause.error());
  const auto suffix = free_suffix(files, data_directory, wal_directory);
  if (!suffix) return std::unexpected(suffix.error());
  PutAside moved{.cause = std::string(as_text(*cause)),
                 .data = data_directory + *suffix,
                 .wal = wal_directory + *suffix};
  // The log first: as long as the mark is there, all of this is done again.
  const bool inside = wal_directory.starts_with(data_directory + "/");
  if (inside) {
    moved.wal = moved.data + wal_directory.substr(data_directory.size());
  } else if (Status status = move(files, wal_directory, moved.wal); !status) {
    return std::unexpected(std::move(status.error()));
  }
  if (Status status = move(files, data_directory, moved.data); !status)
    return std::unexpected(std::move(status.error()));
  return moved;
}

Result<std::uint32_t> count_put_aside(io::Files& files, const std::string& data_directory) {
  const std::string parent = parent_of(data_directory);
  const auto entries = files.list(parent);
  if (!entries) return std::unexpected(entries.error());
  const std::size_t slash = data_directory.find_last_of('/');
  const std::string prefix =
      data_directory.substr(slash == std::string::npos ? 0 : slash + 1) + std::string(kSuffix);
  return static_cast<std::uint32_t>(std::ranges::count_if(*entries, [&](const io::DirectoryEntry& entry) {
    return entry.is_directory && entry.name.starts_with(prefix);
  }));
}

}  // namespace esc::replica
