#include "esc/replica/forced_seat.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "checkpoint_format.h"
#include "esc/wal/dump.h"
#include "incarnation_file.h"
#include "quarantine.h"

namespace esc::replica {
namespace {

// What a log says about its end and its members. Whether it is whole, recovery judges.
class LogEnd final : public wal::DumpVisitor {
 public:
  void on_segment(const wal::DumpedSegment&) override {}
  void on_frame(const wal::DumpedFrame& frame) override {
    if (frame.state != wal::FrameState::ok) return;
    const logfmt::FrameHeader& header = frame.header;
    commit = std::max(commit, Index(header.commit_index));
    if (header.kind == logfmt::FrameKind::reset) reached(header.last_index, header.term);
  }
  void on_entry(const wal::DumpedFrame& frame, const logfmt::EntryView& entry) override {
    const std::uint64_t index = entry.header.index;
    if (frame.state != wal::FrameState::ok || (frame.superseded_from != 0 && index >= frame.superseded_from))
      return;
    reached(index, frame.header.term);
    if (entry.header.kind != logfmt::EntryKind::configuration || Index(index) < members_at) return;
    ByteReader reader(entry.body);
    if (auto decoded = decode_configuration(reader)) {
      members = *decoded;
      members_at = Index(index);
    }
  }
  void on_malformed_entry(const wal::DumpedFrame&, std::size_t) override {}

  void reached(std::uint64_t index, std::uint64_t term) {
    if (Index(index) < last_index) return;
    last_index = Index(index);
    last_term = Term(term);
  }

  Index last_index;
  Term last_term;
  Index commit;
  std::optional<raft::Configuration> members;
  Index members_at;
};

std::string file_of(const std::string& data_directory) {
  return data_directory + "/incarnation";
}

Result<IncarnationFile> read_file(io::Files& files, const std::string& data_directory) {
  const std::string path = file_of(data_directory);
  auto bytes = io::read_whole_file(files, path, kIncarnationFileBytesMax);
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  return decode_incarnation_file(*bytes, path);
}

std::string refusal(const SeatPlace& place, const std::string& why) {
  return "group " + std::to_string(place.group.value()) + " in " + place.data_directory + ": " + why;
}

// The checkpoint's word is where the log goes on.
Status read_checkpoint(io::Files& files, const SeatPlace& place, LogEnd& end) {
  const std::string path = place.data_directory + "/checkpoint";
  const auto exists = files.exists(path);
  if (!exists) return std::unexpected(exists.error());
  if (!*exists) return {};
  const auto bytes = io::read_whole_file(files, path, kCheckpointBytesMax);
  if (!bytes) return std::unexpected(bytes.error());
  const auto checkpoint = decode_checkpoint(*bytes, path);
  if (!checkpoint) return std::unexpected(checkpoint.error());
  end.reached(checkpoint->applied.value(), checkpoint->applied_term.value());
  end.commit = checkpoint->applied;
  end.members = checkpoint->configuration;
  end.members_at = checkpoint->applied;
  return {};
}

}  // namespace

Result<SeatReport> inspect_seat(io::Files& files, const SeatPlace& place) {
  const auto damaged = files.exists(place.data_directory + "/" + std::string(kDamageMark));
  if (!damaged) return std::unexpected(damaged.error());
  if (*damaged)
    return fail(Errc::corruption, refusal(place, "these data are marked as damaged: choose another node"));
  const auto exists = files.exists(file_of(place.data_directory));
  if (!exists) return std::unexpected(exists.error());
  if (!*exists) {
    return fail(Errc::invalid_argument,
                refusal(place, "nothing here is a cluster's (there is no incarnation): choose another node"));
  }
  const auto file = read_file(files, place.data_directory);
  if (!file) return std::unexpected(file.error());
  LogEnd end;
  if (file->founded) end.members = file->pledged;
  if (Status status = read_checkpoint(files, place, end); !status) return std::unexpected(status.error());
  if (Status status = wal::scan_directory(files, place.wal_directory, end); !status)
    return std::unexpected(status.error());
  // A seat taken since then has voided what the log says.
  if (file->seat.state == Seat::State::taken && end.members_at <= file->seat.through)
    end.members = file->pledged;
  if (!end.members || !end.members->is_voter(place.node) ||
      end.members->incarnation_of(place.node) != file->incarnation || end.last_index == Index(0)) {
    return fail(Errc::invalid_argument,
                refusal(place,
                        "these data are no voter's: they are new, or were still being learned, and are not "
                        "complete. Choose another node"));
  }
  SeatReport report{
      .last_index = end.last_index, .last_term = end.last_term, .commit = end.commit, .voters = {}};
  for (const NodeId voter : end.members->voters) {
    if (!report.voters.empty()) report.voters += ", ";
    report.voters += std::to_string(voter.value());
  }
  report.wanted = file->seat.state == Seat::State::wanted;
  return report;
}

Status want_seat(io::Files& files, const SeatPlace& place) {
  if (const auto report = inspect_seat(files, place); !report) return std::unexpected(report.error());
  auto file = read_file(files, place.data_directory);
  if (!file) return std::unexpected(std::move(file.error()));
  file->seat = {.state = Seat::State::wanted};
  std::vector<std::byte> contents;
  encode_incarnation_file(*file, contents);
  return io::write_file_atomically(files, file_of(place.data_directory), contents);
}

bool seat_is_wanted(io::Files& files, const std::string& data_directory) {
  const auto file = read_file(files, data_directory);
  return file && file->seat.state == Seat::State::wanted;
}

}  // namespace esc::replica
