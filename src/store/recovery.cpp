// Opening a partition as the checkpoint describes it.
#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "esc/base/assert.h"
#include "segmented_log.h"

namespace esc::store {
namespace {

// `<20 digits>[.<generation>]<suffix>`.
std::optional<SegmentName> parse_segment_name(std::string_view text, std::string_view suffix) {
  constexpr std::size_t kDigits = 20;
  if (text.size() < kDigits + suffix.size() || !text.ends_with(suffix)) return std::nullopt;
  text.remove_suffix(suffix.size());
  std::int64_t base = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + kDigits, base);
  if (error != std::errc{} || end != text.data() + kDigits || base < 0) return std::nullopt;
  SegmentName name{Offset(base), 0};
  text.remove_prefix(kDigits);
  if (text.empty()) return name;
  if (text.size() < 2 || text[0] != '.' || text[1] == '0') return std::nullopt;
  const auto [last, wrong] = std::from_chars(text.data() + 1, text.data() + text.size(), name.generation);
  if (wrong != std::errc{} || last != text.data() + text.size()) return std::nullopt;
  return name;
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
  if (state.compacted_until > state.next_offset) return wrong("more is compacted than there is");
  return {};
}

}  // namespace

Status SegmentedLog::recover(io::Files& files, const PartitionState& state) {
  if (auto checked = check_state(directory_, state); !checked) return checked;
  log_start_ = state.log_start_offset;
  next_ = state.next_offset;

  compacted_until_ = state.compacted_until;
  tombstones_until_ = state.tombstones_until;
  if (!state.segments.empty()) write_generation_ = state.segments.back().generation;

  std::map<SegmentName, std::uint64_t> present;  // segments: bytes of the .log file
  const auto exists = files.exists(directory_);
  if (!exists) return std::unexpected(exists.error());
  if (*exists) {
    const auto entries = files.list(directory_);
    if (!entries) return std::unexpected(entries.error());
    directory_exists_ = true;
    // A crash may have come before the directory was made durable.
    directory_dirty_ = parent_dirty_ = true;
    for (const auto& entry : *entries) {
      if (const auto name = parse_segment_name(entry.name, ".log")) {
        present[*name] = entry.bytes;
      } else if (const auto index_name = parse_segment_name(entry.name, ".index")) {
        (void)present.try_emplace(*index_name, 0);  // perhaps all that is left of a removed segment
      } else {
        notes_.push_back(directory_ + "/" + entry.name +
                         " is not a file of this partition; it is left alone");
      }
    }
  }
  for (std::size_t i = 0; i < state.segments.size(); ++i) {
    const bool last = i + 1 == state.segments.size();
    const Offset end = last ? state.next_offset : state.segments[i + 1].base_offset;
    const SegmentName name{state.segments[i].base_offset, state.segments[i].generation};
    const auto file = present.find(name);
    generation_max_ = std::max(generation_max_, name.generation);
    const std::uint64_t file_bytes = file == present.end() ? 0 : file->second;
    if (file_bytes < state.segments[i].bytes) {
      return fail(Errc::corruption,
                  segment_path(directory_, name, ".log") +
                      (file_bytes == 0 ? " is missing or empty"
                                       : " has only " + std::to_string(file_bytes) + " bytes") +
                      "; the checkpoint says " + std::to_string(state.segments[i].bytes) +
                      " bytes; restore the file from a replica or a backup, nothing was changed");
    }
    if (auto opened = recover_segment(files, state.segments[i], end, last, file_bytes); !opened)
      return opened;
    present.erase(file);
  }
  for (const auto& [name, file_bytes] : present) {
    generation_max_ = std::max(generation_max_, name.generation);
    if (left_behind(name, state)) {
      auto segment = new_segment(name, 0);
      segment->released = true;  // the next release_removed() removes it
      removed_.push_back(std::move(segment));
      continue;
    }
    if (name.base >= next_) {
      to_come_.push_back(name);
      continue;
    }
    orphans_.push_back(name);
    if (file_bytes > 0) {
      notes_.push_back(segment_path(directory_, name, ".log") + " (" + std::to_string(file_bytes) +
                       " bytes) is not named by the checkpoint; it is left alone");
    }
  }
  return {};
}

// Whether a file that the checkpoint does not name is to be removed, because a crash came before that was
// done.
bool SegmentedLog::left_behind(SegmentName name, const PartitionState& state) const {
  // Dropped by retention before the checkpoint.
  if (!state.segments.empty() && name.base < state.segments.front().base_offset) return true;
  // Replaced by a compaction, or by a snapshot.
  if (name.base < state.compacted_until || name.generation < write_generation_) return true;
  // Written by a compaction, or for a snapshot, that was not finished. What the replay will append again has
  // the generation of what it follows.
  return name.generation != write_generation_;
}

Status SegmentedLog::recover_segment(io::Files& files, const PartitionState::Segment& state, Offset end,
                                     bool last, std::uint64_t file_bytes) {
  const SegmentName name{state.base_offset, state.generation};
  auto segment = new_segment(name, last ? kIndexEntriesFresh : 0);
  const bool whole = load_index(files, *segment, state.bytes);
  if (!whole) {
    const std::uint64_t entries = 2 * (state.bytes / options_.index_interval_bytes);
    segment->index.reserve(
        static_cast<std::uint32_t>(std::clamp<std::uint64_t>(entries, kIndexEntriesFresh, kIndexEntriesMax)));
    const auto handle = files.open(segment_path(directory_, name, ".log"), {});
    if (!handle) return std::unexpected(handle.error());
    const Status scanned = scan_segment(files, *handle, *segment, state.bytes);
    files.close(*handle);
    if (!scanned) return scanned;
  }
  if (segment->next != end) {
    return fail(Errc::corruption, segment_path(directory_, name, ".log") + " ends at offset " +
                                      std::to_string(segment->next.value()) + "; the checkpoint says " +
                                      std::to_string(end.value()) + "; nothing was changed");
  }
  if (state.first_timestamp >= 0) segment->first_timestamp = state.first_timestamp;
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
