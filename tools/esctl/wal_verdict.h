// Judges a scanned log as a whole: which frames are missing although a later frame says that they were
// durable. That is corruption; a missing or broken end that nobody vouched for is a torn tail, and normal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "esc/wal/dump.h"

namespace esc::esctl {

struct Damage {
  std::string path;
  std::uint64_t position = 0;
  std::string problem;
};

class WalVerdict {
 public:
  void on_segment(const wal::DumpedSegment& segment);
  void on_frame(const wal::DumpedFrame& frame);  // in the order of the scan
  void on_malformed_entry(const wal::DumpedFrame& frame, std::size_t position);

  // A range of frames that is missing below the durable watermark.
  struct Gap {
    std::uint64_t first_lsn = 0;
    std::uint64_t last_lsn = 0;
    Damage before;  // the next good frame
  };
  [[nodiscard]] std::vector<Gap> corrupt_gaps() const;
  // Everything that is not as it should be, harmless or not, in the order found.
  [[nodiscard]] const std::vector<Damage>& findings() const { return findings_; }
  // Empty when the log is whole up to its watermark; otherwise a sentence with file and position.
  [[nodiscard]] std::string corruption() const;

  [[nodiscard]] std::uint64_t frames() const { return frames_; }
  [[nodiscard]] std::uint64_t first_lsn() const { return first_lsn_; }
  [[nodiscard]] std::uint64_t last_lsn() const { return last_lsn_; }
  [[nodiscard]] std::uint64_t durable_lsn() const { return durable_lsn_; }

 private:
  std::vector<Gap> gaps_;
  std::vector<Damage> findings_;
  std::string malformed_;
  std::uint64_t frames_ = 0;
  std::uint64_t first_lsn_ = 0;
  std::uint64_t last_lsn_ = 0;
  std::uint64_t durable_lsn_ = 0;
};

}  // namespace esc::esctl
