// Opening a partition as the checkpoint describes it.
#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "esc/base/assert.h"
#include "segmented_log.h"

namespace esc::store {
namespace {

// The base offset of `<20 digits><suffix>`.
std::optional<Offset> parse_segment_name(const std::string& name, std::string_view suffix) {
  constexpr std::size_t kDigits = 20;
  if (name.size() != kDigits + suffix.size() || !name.ends_with(suffix)) return std::nullopt;
  std::int64_t base = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + kDigits, base);
  if (error != std::errc{} || end != name.data() + kDigits || base < 0) return std::nullopt;
  return Offset(base);
}

Status check_state(const std::string& directory, const PartitionState& state) {
  const auto wrong = [&](const char* what) {
    return fail(Errc::corruption,
                "the checkpoint's description of " + directory + " contradicts itself: " + what);
  };
  if (state.log_start_offset < Offset(0) || state.log_start_offset > state.next_offset) {
    return wrong("the log start is not between 0 and the log end");
  }
  for (std::size_t i = 0; i < state.segments.size(); ++i) {
    const auto& segment = state.segments[i];
    const Offset end = i + 1 < state.segments.size() ? state.segments[i + 1].base_offset : state.next_offset;
    if (segment.base_offset < Offset(0) || segment.base_offset >= end)
      return wrong("segments overlap or are empty");
    if (segment.bytes == 0 || segment.bytes > kSegmentBytesMax)
      return wrong("a segment's size is impossible");
  }
  if (!state.segments.empty() && state.segments.front().base_offset > state.log_start_offset) {
    return wrong("the log starts before its first segment");
  }
  return {};
}

}  // namespace

Status SegmentedLog::recover(io::Files& files, const PartitionState& state) {
  if (auto checked = check_state(directory_, state); !checked) return checked;
  log_start_ = state.log_start_offset;
  next_ = state.next_offset;

  std::map<Offset, std::uint64_t> present;  // segments: bytes of the .log file
  const auto exists = files.exists(directory_);
  if (!exists) return std::unexpected(exists.error());
  if (*exists) {
    const auto entries = files.list(directory_);
    if (!entries) return std::unexpected(entries.error());
    directory_exists_ = true;
    // A crash may have come before the directory was made durable.
    directory_dirty_ = parent_dirty_ = true;
    for (const auto& entry : *entries) {
      if (const auto base = parse_segment_name(entry.name, ".log")) {
        present[*base] = entry.bytes;
      } else if (const auto index_base = parse_segment_name(entry.name, ".index")) {
        (void)present.try_emplace(*index_base, 0);  // perhaps all that is left of a removed segment
      } else {
        notes_.push_back(directory_ + "/" + entry.name +
                         " is not a file of this partition; it is left alone");
      }
    }
  }
  for (std::size_t i = 0; i < state.segments.size(); ++i) {
    const bool last = i + 1 == state.segments.size();
    const Offset end = last ? state.next_offset : state.segments[i + 1].base_offset;
    const auto file = present.find(state.segments[i].base_offset);
    const std::uint64_t file_bytes = file == present.end() ? 0 : file->second;
    if (file_bytes < state.segments[i].bytes) {
      return fail(Errc::corruption,
                  segment_path(directory_, state.segments[i].base_offset, ".log") +
                      (file_bytes == 0 ? " is missing or empty"
                                       : " has only " + std::to_string(file_bytes) + " bytes") +
                      "; the checkpoint says " + std::to_string(state.segments[i].bytes) +
                      " bytes; restore the file from a replica or a backup, nothing was changed");
    }
    if (auto opened = recover_segment(files, state.segments[i], end, last, file_bytes); !opened)
      return opened;
    present.erase(file);
  }
  for (const auto& [base, file_bytes] : present) {
    if (!state.segments.empty() && base < state.segments.front().base_offset) {
      // Dropped by retention before the checkpoint; the crash came before the file was removed. The next
      // release_removed() does it.
      auto segment = new_segment(base, 0);
      segment->released = true;
      removed_.push_back(std::move(segment));
      continue;
    }
    orphans_.push_back(base);
    if (base < next_ && file_bytes > 0) {
      notes_.push_back(segment_path(directory_, base, ".log") + " (" + std::to_string(file_bytes) +
                       " bytes) is not named by the checkpoint; it is left alone");
    }
  }
  return {};
}

Status SegmentedLog::recover_segment(io::Files& files, const PartitionState::Segment& state, Offset end,
                                     bool last, std::uint64_t file_bytes) {
  auto segment = new_segment(state.base_offset, last ? kIndexEntriesFresh : 0);
  const bool whole = load_index(files, *segment, state.bytes);
  if (!whole) {
    const std::uint64_t entries = 2 * (state.bytes / options_.index_interval_bytes);
    segment->index.reserve(
        static_cast<std::uint32_t>(std::clamp<std::uint64_t>(entries, kIndexEntriesFresh, kIndexEntriesMax)));
    const auto handle = files.open(segment_path(directory_, state.base_offset, ".log"), {});
    if (!handle) return std::unexpected(handle.error());
    const Status scanned = scan_segment(files, *handle, *segment, state.bytes);
    files.close(*handle);
    if (!scanned) return scanned;
  }
  if (segment->next != end) {
    return fail(Errc::corruption, segment_path(directory_, state.base_offset, ".log") + " ends at offset " +
                                      std::to_string(segment->next.value()) + "; the checkpoint says " +
                                      std::to_string(end.value()) + "; nothing was changed");
  }
  segment->sealed = !last;
  segment->index_saved = !last && whole;
  segment->tail_unknown = last && file_bytes > state.bytes;
  segment->write_back_bytes = segment->bytes;
  if (segment->sealed) {
    segment->index.seal();
  } else if (segment->index.entries().size() * 2 > segment->index.capacity()) {
    segment->index.reserve(kIndexEntriesMax);
  }
  bytes_ += segment->bytes;
  segments_.push_back(std::move(segment));
  return {};
}

}  // namespace esc::store
