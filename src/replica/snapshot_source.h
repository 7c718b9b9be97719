// Answers a member that has fallen behind the log: the newest checkpoint, then the records it names. Private
// to the group.
//
// The member pulls, one request at a time, so nothing is kept here between requests but the checkpoint's
// bytes; whoever leads the group can go on where another stopped. docs/PROTOCOL.md has the messages.
//
// Threading: the group's core. Memory: made at the first request, one message and the checkpoint file.
#pragma once

#include <string>
#include <vector>

#include "esc/replica/group.h"
#include "snapshot_messages.h"

namespace esc::replica {

class SnapshotSource {
 public:
  explicit SnapshotSource(Group& group) : group_(group) {}

  void on_state_request(NodeId from, std::uint64_t tag, ByteView payload);
  void on_records_request(NodeId from, std::uint64_t tag, ByteView payload);
  void on_ids_request(NodeId from, std::uint64_t tag, ByteView payload);
  [[nodiscard]] bool busy() const { return phase_ != Phase::idle; }
  // The log behind this index is needed by those that are fetching a snapshot, or have just done so: without
  // it they would begin again, and never catch up under load. The highest index when nobody does.
  [[nodiscard]] Index holds() const;
  // Somebody has asked for something lately.
  [[nodiscard]] bool serving() const { return busy() || holds() != Index(UINT64_MAX); }

 private:
  enum class Phase : std::uint8_t { idle, opening, reading, closing, records, ids };

  struct Fetcher {
    NodeId node;
    Index index;  // of the checkpoint that it got
    Nanos asked_at = 0;
  };

  void note(NodeId from, bool begins);
  void reserve_buffer();
  void load_checkpoint();
  void on_disk_done();
  void send_state();
  void on_records(Errc code);
  void answer_records(Errc code, ByteView records);
  void on_ids_step();
  void answer_ids(Errc code, ByteView entries);
  void reply(std::uint16_t kind);

  Group& group_;
  Phase phase_ = Phase::idle;
  NodeId to_;
  std::uint64_t tag_ = 0;
  std::vector<std::byte> out_;

  std::string path_;
  io::DiskOp op_;
  io::FileHandle file_;
  std::vector<std::byte> checkpoint_;
  std::uint64_t state_offset_ = 0;

  SnapshotRecordsRequest request_;
  SnapshotIdsRequest ids_request_;
  Errc ids_error_ = Errc::ok;
  std::size_t ids_bytes_ = 0;
  store::ReadOp read_;
  FixedVector<Fetcher, raft::kPeersMax> fetchers_;
  std::vector<std::byte> buffer_;
};

}  // namespace esc::replica
