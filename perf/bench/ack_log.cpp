#include "ack_log.h"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstring>
#include <tuple>

namespace esc::bench {

bool AckedRange::absorb(const AckedRange& next) {
  if (next.run_id != run_id || next.producer != producer || next.partition != partition) return false;
  if (next.base_offset != end_offset() || next.first_sequence != first_sequence + count) return false;
  count += next.count;
  return true;
}

Result<std::unique_ptr<AckLogWriter>> AckLogWriter::open(const std::string& path, const std::string& topic) {
  std::FILE* file = std::fopen(path.c_str(), "a");
  if (file == nullptr) {
    return fail(errc_from_errno(errno), "cannot write the ack log " + path + ": " + std::strerror(errno));
  }
  std::fprintf(file, "esc-ack-log 1 %s\n", topic.c_str());
  return std::unique_ptr<AckLogWriter>(new AckLogWriter(file));
}

AckLogWriter::~AckLogWriter() {
  std::fclose(file_);
}

void AckLogWriter::write(const AckedRange& range) {
  const std::lock_guard lock(mutex_);
  std::fprintf(file_, "%016" PRIx64 " %u %u %" PRId64 " %" PRIu64 " %" PRIu64 "\n", range.run_id,
               range.producer, range.partition, range.base_offset, range.first_sequence, range.count);
}

bool AckLogWriter::flush() {
  const std::lock_guard lock(mutex_);
  return std::fflush(file_) == 0 && std::ferror(file_) == 0;
}

Result<std::vector<AckedRange>> read_ack_logs(std::span<const std::string> paths, const std::string& topic) {
  std::vector<AckedRange> ranges;
  for (const std::string& path : paths) {
    std::FILE* file = std::fopen(path.c_str(), "r");
    if (file == nullptr) {
      return fail(errc_from_errno(errno), "cannot read the ack log " + path + ": " + std::strerror(errno));
    }
    char line[512];
    bool wanted = false;
    std::uint64_t number = 0;
    std::string bad;
    while (bad.empty() && std::fgets(line, sizeof line, file) != nullptr) {
      ++number;
      const std::size_t length = std::strlen(line);
      if (length == 0 || line[length - 1] != '\n') break;
      char name[300];
      AckedRange range;
      if (std::sscanf(line, "esc-ack-log 1 %299s", name) == 1) {
        wanted = topic == name;
      } else if (std::sscanf(line, "%" SCNx64 " %u %u %" SCNd64 " %" SCNu64 " %" SCNu64, &range.run_id,
                             &range.producer, &range.partition, &range.base_offset, &range.first_sequence,
                             &range.count) == 6) {
        if (wanted) ranges.push_back(range);
      } else {
        bad = path + ":" + std::to_string(number) + ": not an ack log line";
      }
    }
    std::fclose(file);
    if (!bad.empty()) return fail(Errc::invalid_argument, bad);
  }
  std::sort(ranges.begin(), ranges.end(), [](const AckedRange& a, const AckedRange& b) {
    return std::tie(a.partition, a.base_offset) < std::tie(b.partition, b.base_offset);
  });
  return ranges;
}

}  // namespace esc::bench
