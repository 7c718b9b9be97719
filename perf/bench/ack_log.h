// The file that remembers what the server acknowledged, so that a later `esc-bench verify` can prove that
// nothing of it was lost, whatever happened to the server in between.
//
// Text, one line per contiguous range:
//   esc-ack-log 1 <topic>
//   <run id, hex> <producer> <partition> <base offset> <first sequence> <count>
// Several runs may append to one file. A last line without newline (a killed bench) is ignored.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "esc/base/result.h"

namespace esc::bench {

struct AckedRange {
  std::uint64_t run_id = 0;
  std::uint32_t producer = 0;
  std::uint32_t partition = 0;
  std::int64_t base_offset = 0;
  std::uint64_t first_sequence = 0;
  std::uint64_t count = 0;

  [[nodiscard]] std::int64_t end_offset() const { return base_offset + static_cast<std::int64_t>(count); }
  // Extends this range when `next` continues it in sequence and offset.
  [[nodiscard]] bool absorb(const AckedRange& next);
};

// Threading: any thread may write.
class AckLogWriter {
 public:
  [[nodiscard]] static Result<std::unique_ptr<AckLogWriter>> open(const std::string& path,
                                                                  const std::string& topic);
  ~AckLogWriter();
  AckLogWriter(const AckLogWriter&) = delete;
  AckLogWriter& operator=(const AckLogWriter&) = delete;
  void write(const AckedRange& range);
  // False when a write failed (disk full): the file proves less than it should.
  [[nodiscard]] bool flush();

 private:
  explicit AckLogWriter(std::FILE* file) : file_(file) {}
  std::mutex mutex_;
  std::FILE* file_;
};

// Ranges of all files for `topic`, sorted by partition and base offset.
[[nodiscard]] Result<std::vector<AckedRange>> read_ack_logs(std::span<const std::string> paths,
                                                            const std::string& topic);

}  // namespace esc::bench
