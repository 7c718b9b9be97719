#include "wal_printer.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <utility>

#include "esc/wire/record_batch.h"
#include "json.h"

namespace esc::esctl {

namespace {

const char* kind_name(logfmt::FrameKind kind) {
  switch (kind) {
    case logfmt::FrameKind::none: return "none";
    case logfmt::FrameKind::entries: return "entries";
    case logfmt::FrameKind::hard_state: return "hard_state";
    case logfmt::FrameKind::watermark: return "watermark";
    case logfmt::FrameKind::reset: return "reset";
  }
  return "unknown";
}

const char* kind_name(logfmt::EntryKind kind) {
  switch (kind) {
    case logfmt::EntryKind::none: return "none";
    case logfmt::EntryKind::noop: return "noop";
    case logfmt::EntryKind::batch: return "batch";
    case logfmt::EntryKind::partition_create: return "partition_create";
    case logfmt::EntryKind::partition_delete: return "partition_delete";
    case logfmt::EntryKind::partition_config: return "partition_config";
    case logfmt::EntryKind::metadata: return "metadata";
    case logfmt::EntryKind::log_start: return "log_start";
    case logfmt::EntryKind::configuration: return "configuration";
    case logfmt::EntryKind::coordinator: return "coordinator";
    case logfmt::EntryKind::producer_ids: return "producer_ids";
    case logfmt::EntryKind::sequence: return "sequence";
  }
  return "unknown";
}

const char* codec_name(wire::Codec codec) {
  switch (codec) {
    case wire::Codec::none: return "none";
    case wire::Codec::gzip: return "gzip";
    case wire::Codec::snappy: return "snappy";
    case wire::Codec::lz4: return "lz4";
    case wire::Codec::zstd: return "zstd";
  }
  return "unknown";
}

// The record batch in an entry, if it is one.
std::optional<wire::BatchView> batch_of(const logfmt::EntryView& entry) {
  if (entry.header.kind != logfmt::EntryKind::batch) return std::nullopt;
  const auto batch = wire::BatchView::parse(entry.body);
  return batch ? std::optional(*batch) : std::nullopt;
}

std::string time_text(std::int64_t timestamp_ms) {
  constexpr std::int64_t kYear9999 = 253'370'764'800'000;
  if (timestamp_ms < 0 || timestamp_ms > kYear9999) return std::to_string(timestamp_ms);
  const std::chrono::sys_time<std::chrono::milliseconds> time{std::chrono::milliseconds(timestamp_ms)};
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", std::chrono::floor<std::chrono::seconds>(time),
                     timestamp_ms % 1000);
}

class TextPrinter final : public WalPrinter {
 public:
  explicit TextPrinter(bool entries) : entries_(entries) {}

  void begin_group(const WalDirectory& directory) override {
    if (directory.identified) {
      fmt::print("Group {} of node {}, cluster {:016x}: {}\n", directory.group, directory.node,
                 directory.cluster_id, directory.path);
    } else {
      fmt::print("Unknown group (no segment header is readable): {}\n", directory.path);
    }
    segments_ = 0;
  }

  void on_segment(const wal::DumpedSegment& segment) override {
    const auto slash = segment.path.rfind('/');
    fmt::print("\n  Segment {}", segment.path.substr(slash == std::string::npos ? 0 : slash + 1));
    if (segment.state == logfmt::HeaderState::valid) fmt::print(", generation {}", segment.header.generation);
    fmt::print(", {} bytes{}{}\n", segment.bytes, segment.problem.empty() ? "" : "  ! ", segment.problem);
    titles_due_ = true;
    ++segments_;
  }

  void on_frame(const wal::DumpedFrame& frame) override {
    if (titles_due_) {
      fmt::print("  {:>12} {:>10} {:<10} {:>6} {:>21} {:>10} {:>10} {:>10}  STATE\n", "POSITION", "LSN",
                 "KIND", "TERM", "INDEXES", "BYTES", "DURABLE", "COMMIT");
      titles_due_ = false;
    }
    const logfmt::FrameHeader& header = frame.header;
    if (frame.state == wal::FrameState::damaged_header) {
      fmt::print("  {:>12} {:>10} {:<10} {:>6} {:>21} {:>10} {:>10} {:>10}  ! {}: {}\n", frame.position, "?",
                 "?", "?", "?", "?", "?", "?", wal::to_string(frame.state), frame.problem);
      return;
    }
    const std::string indexes = header.first_index == 0 ? "-"
                                : header.kind == logfmt::FrameKind::reset
                                    ? fmt::format("from {}", header.first_index)
                                    : fmt::format("{}-{}", header.first_index, header.last_index);
    const bool harmless = frame.state == wal::FrameState::ok || frame.state == wal::FrameState::stale;
    const std::string superseded = frame.superseded_from == 0 ? ""
                                   : frame.superseded_from == header.first_index
                                       ? ", superseded"
                                       : fmt::format(", superseded from {}", frame.superseded_from);
    fmt::print("  {:>12} {:>10} {:<10} {:>6} {:>21} {:>10} {:>10} {:>10}  {}{}{}{}{}\n", frame.position,
               header.lsn, kind_name(header.kind), header.term, indexes, header.payload_bytes,
               header.durable_lsn, header.commit_index, harmless ? "" : "! ", wal::to_string(frame.state),
               superseded, frame.problem.empty() ? "" : ": ", frame.problem);
  }

  void on_entry(const wal::DumpedFrame&, const logfmt::EntryView& entry) override {
    if (!entries_) return;
    fmt::print("    {:>10} index {} {} partition {} {} bytes at {}", "", entry.header.index,
               kind_name(entry.header.kind), entry.header.partition, entry.header.size,
               time_text(entry.header.timestamp_ms));
    if (const auto batch = batch_of(entry)) {
      fmt::print(": offsets {}-{}, {} records, codec {}{}", batch->base_offset(), batch->last_offset(),
                 batch->record_count(), codec_name(batch->codec()), batch->crc_valid() ? "" : "  ! checksum");
    }
    fmt::print("\n");
  }

  void on_malformed_entry(const wal::DumpedFrame&, std::size_t position) override {
    fmt::print("    {:>10} ! no entry at byte {} of the payload\n", "", position);
  }

  void end_group(const WalVerdict& verdict) override {
    const auto corruption = verdict.corruption();
    fmt::print("\n  {} segments, {} frames, LSN {} to {}, durable at least up to {}: {}\n\n", segments_,
               verdict.frames(), verdict.first_lsn(), verdict.last_lsn(), verdict.durable_lsn(),
               !corruption.empty() ? "CORRUPT"
               : verdict.findings().empty()
                   ? "whole"
                   : "whole up to its watermark; what follows is an unfinished write");
    if (!corruption.empty()) fmt::print("  ! {}\n\n", corruption);
  }
  void finish() override {}

 private:
  bool entries_;
  bool titles_due_ = false;
  std::uint64_t segments_ = 0;
};

// {"groups": [{..., "segments": [{..., "frames": [{...}, ...]}, ...], "verdict": {...}}, ...]}, written as
// the scan goes on; only one frame is held.
class JsonPrinter final : public WalPrinter {
 public:
  explicit JsonPrinter(bool entries) : with_entries_(entries) { fmt::print("{{\"groups\": ["); }

  void begin_group(const WalDirectory& directory) override {
    Json fields = Json::object();
    fields.set("directory", directory.path)
        .set("group", directory.identified ? Json(directory.group) : Json());
    fields.set("node", directory.identified ? Json(directory.node) : Json());
    fields.set("cluster", directory.identified ? Json(fmt::format("{:016x}", directory.cluster_id)) : Json());
    fmt::print("{}\n{}, \"segments\": [", std::exchange(group_open_, true) ? "," : "", opened(fields));
    segment_open_ = false;
  }

  void on_segment(const wal::DumpedSegment& segment) override {
    close_segment();
    const bool valid = segment.state == logfmt::HeaderState::valid;
    Json fields = Json::object();
    fields.set("path", segment.path).set("bytes", segment.bytes);
    fields.set("header", logfmt::to_string(segment.state));
    fields.set("generation", valid ? Json(segment.header.generation) : Json());
    fields.set("problem", segment.problem.empty() ? Json() : Json(segment.problem));
    fmt::print("{}\n{}, \"frames\": [", std::exchange(first_segment_, false) ? "" : ",", opened(fields));
    segment_open_ = true;
    first_frame_ = true;
  }

  void on_frame(const wal::DumpedFrame& frame) override {
    flush_frame();
    const logfmt::FrameHeader& header = frame.header;
    Json fields = Json::object();
    fields.set("position", frame.position).set("state", wal::to_string(frame.state));
    fields.set("problem", frame.problem.empty() ? Json() : Json(frame.problem));
    if (frame.state != wal::FrameState::damaged_header) {
      fields.set("lsn", header.lsn).set("kind", kind_name(header.kind)).set("term", header.term);
      fields.set("first_index", header.first_index).set("last_index", header.last_index);
      fields.set("payload_bytes", header.payload_bytes).set("durable_lsn", header.durable_lsn);
      fields.set("commit_index", header.commit_index);
      fields.set("superseded_from", frame.superseded_from == 0 ? Json() : Json(frame.superseded_from));
    }
    frame_ = std::move(fields);
    entries_ = Json::array();
  }

  void on_entry(const wal::DumpedFrame&, const logfmt::EntryView& entry) override {
    if (!with_entries_) return;
    Json fields = Json::object();
    fields.set("index", entry.header.index).set("kind", kind_name(entry.header.kind));
    fields.set("partition", entry.header.partition).set("bytes", entry.header.size);
    fields.set("timestamp_ms", entry.header.timestamp_ms);
    if (const auto batch = batch_of(entry)) {
      fields.set("base_offset", batch->base_offset()).set("last_offset", batch->last_offset());
      fields.set("records", batch->record_count()).set("codec", codec_name(batch->codec()));
      fields.set("checksum_ok", batch->crc_valid());
    }
    entries_.push(std::move(fields));
  }

  void on_malformed_entry(const wal::DumpedFrame&, std::size_t position) override {
    if (frame_) frame_->set("malformed_entry_at", position);
  }

  void end_group(const WalVerdict& verdict) override {
    close_segment();
    first_segment_ = true;
    Json fields = Json::object();
    fields.set("corrupt", !verdict.corruption().empty()).set("corruption", verdict.corruption());
    fields.set("frames", verdict.frames()).set("first_lsn", verdict.first_lsn());
    fields.set("last_lsn", verdict.last_lsn()).set("durable_lsn", verdict.durable_lsn());
    fmt::print("], \"verdict\": {}}}", fields.text());
  }
  void finish() override { fmt::print("]}}\n"); }

 private:
  // The object without its closing brace, for members to follow.
  static std::string opened(const Json& object) {
    std::string text = object.text();
    text.resize(text.rfind('}'));
    text.erase(text.find_last_not_of(" \n") + 1);
    return text;
  }
  void flush_frame() {
    if (!frame_) return;
    if (with_entries_) frame_->set("entries", std::move(entries_));
    fmt::print("{}\n{}", std::exchange(first_frame_, false) ? "" : ",", frame_->text());
    frame_.reset();
  }
  void close_segment() {
    flush_frame();
    if (std::exchange(segment_open_, false)) fmt::print("]}}");
  }

  bool with_entries_;
  bool group_open_ = false;
  bool segment_open_ = false;
  bool first_segment_ = true;
  bool first_frame_ = true;
  std::optional<Json> frame_;
  Json entries_ = Json::array();
};

}  // namespace

std::unique_ptr<WalPrinter> make_wal_printer(Output output, bool entries) {
  if (output == Output::json) return std::make_unique<JsonPrinter>(entries);
  return std::make_unique<TextPrinter>(entries);
}

}  // namespace esc::esctl
