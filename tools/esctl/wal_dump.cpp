// wal dump: finds the logs below a directory, prints them, and says whether they are whole.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "commands.h"
#include "esc/io/posix_files.h"
#include "esc/wal/dump.h"
#include "wal_printer.h"
#include "wal_verdict.h"

namespace esc::esctl {

namespace {

namespace fs = std::filesystem;

constexpr int kDepthMax = 4;  // a group's directory is at most this far below the data directory

bool is_segment(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with("wal-") && name.ends_with(".seg");
}

// Directories that hold segment files, sorted.
Result<std::vector<std::string>> find_logs(const std::string& root) {
  std::error_code error;
  if (!fs::is_directory(root, error)) {
    return fail(Errc::not_found,
                fmt::format("{} is not a directory that can be read; name a server's data directory, "
                            "or its wal_dir",
                            root));
  }
  std::vector<std::string> found;
  fs::recursive_directory_iterator at(root, fs::directory_options::skip_permission_denied, error);
  // Files of a running server may vanish while we look: stop at the first error, keep what was found.
  for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    if (at.depth() >= kDepthMax) at.disable_recursion_pending();
    if (is_segment(at->path())) found.push_back(at->path().parent_path().string());
  }
  std::ranges::sort(found);
  found.erase(std::unique(found.begin(), found.end()), found.end());
  if (found.empty()) {
    return fail(Errc::not_found,
                fmt::format("{} holds no write-ahead log (no wal-*.seg file in it or below)", root));
  }
  return found;
}

// Reads only the segment headers, to learn whose log it is.
class Identify final : public wal::DumpVisitor {
 public:
  explicit Identify(WalDirectory& directory) : directory_(directory) {}
  void on_segment(const wal::DumpedSegment& segment) override {
    if (directory_.identified || segment.state != logfmt::HeaderState::valid) return;
    directory_.identified = true;
    directory_.group = segment.header.group;
    directory_.node = segment.header.node;
    directory_.cluster_id = segment.header.cluster_id;
  }
  void on_frame(const wal::DumpedFrame&) override {}
  void on_entry(const wal::DumpedFrame&, const logfmt::EntryView&) override {}
  void on_malformed_entry(const wal::DumpedFrame&, std::size_t) override {}

 private:
  WalDirectory& directory_;
};

// Hands everything to the printer, and what matters to the verdict.
class Both final : public wal::DumpVisitor {
 public:
  Both(WalPrinter& printer, WalVerdict& verdict) : printer_(printer), verdict_(verdict) {}
  void on_segment(const wal::DumpedSegment& segment) override {
    printer_.on_segment(segment);
    verdict_.on_segment(segment);
  }
  void on_frame(const wal::DumpedFrame& frame) override {
    printer_.on_frame(frame);
    verdict_.on_frame(frame);
  }
  void on_entry(const wal::DumpedFrame& frame, const logfmt::EntryView& entry) override {
    printer_.on_entry(frame, entry);
  }
  void on_malformed_entry(const wal::DumpedFrame& frame, std::size_t position) override {
    printer_.on_malformed_entry(frame, position);
    if (frame.state == wal::FrameState::ok) verdict_.on_malformed_entry(frame, position);
  }

 private:
  WalPrinter& printer_;
  WalVerdict& verdict_;
};

}  // namespace

Status wal_dump(const Options& options, const WalDumpOptions& dump) {
  const auto logs = find_logs(dump.directory);
  if (!logs) return std::unexpected(logs.error());
  io::PosixFiles files;
  std::vector<WalDirectory> wanted;
  for (const std::string& path : *logs) {
    WalDirectory directory{.path = path};
    Identify identify(directory);
    if (const Status status = wal::scan_directory(files, path, identify); !status) return status;
    if (!dump.group || (directory.identified && directory.group == *dump.group)) wanted.push_back(directory);
  }
  if (wanted.empty()) {
    return fail(Errc::not_found, fmt::format("{} holds no log of group {}; without --group all are shown",
                                             dump.directory, dump.group.value_or(0)));
  }
  const auto printer = make_wal_printer(options.output, dump.entries);
  std::string corruption;
  for (const WalDirectory& directory : wanted) {
    WalVerdict verdict;
    Both visitor(*printer, verdict);
    printer->begin_group(directory);
    if (const Status status = wal::scan_directory(files, directory.path, visitor); !status) return status;
    printer->end_group(verdict);
    if (corruption.empty()) corruption = verdict.corruption();
  }
  printer->finish();
  if (corruption.empty()) return {};
  return fail(Errc::corruption, corruption +
                                    ". If the server is running, run this again: segments are recycled "
                                    "while they are read");
}

}  // namespace esc::esctl
