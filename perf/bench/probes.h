// What the machine says: the floors (how fast could it be at all), the server's CPU and memory, and what
// reached the device.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "esc/base/result.h"
#include "esc/base/units.h"
#include "esc/obs/histogram.h"

namespace esc::bench {

// The two things no durable produce can avoid, and how fast the device takes large writes.
struct Floors {
  obs::Histogram write;   // one 16 KiB O_DIRECT|O_DSYNC write into a zero-written file, depth 1
  obs::Histogram trip;    // one blocking loopback TCP round trip of `message_bytes`
  obs::Histogram stream;  // 1 MiB writes, otherwise as `write`
  obs::Histogram load;    // the same bytes per second into bare logs (bare_log.h), when asked for
  [[nodiscard]] double stream_mb_per_s() const;
  [[nodiscard]] Nanos p50() const { return write.percentile(50) + trip.percentile(50); }
  [[nodiscard]] Nanos p99() const { return write.percentile(99) + trip.percentile(99); }
};
// Adds samples to `floors`, about `span` each. Uses and removes a temporary file in `dir`, which shall be on
// the file system of the server's data.
[[nodiscard]] Status measure_floors(Floors& floors, const std::string& dir, std::uint32_t message_bytes,
                                    Nanos span);

// Counters since boot of the block device below a directory.
struct DeviceCounters {
  std::string device;
  std::uint64_t writes = 0;
  std::uint64_t written_bytes = 0;
  std::uint64_t flushes = 0;
  // Whether the device has a volatile cache, so that durability needs flushes (or FUA).
  bool volatile_cache = false;
};
[[nodiscard]] std::optional<DeviceCounters> read_device(const std::string& dir);

// Counters since start of one process.
struct ProcessCounters {
  struct Thread {
    std::int32_t id = 0;
    std::string name;
    Nanos cpu = 0;
  };
  Nanos cpu = 0;
  std::vector<Thread> threads;
  std::uint64_t rss_bytes = 0;       // now
  std::uint64_t rss_peak_bytes = 0;  // since start
  std::uint64_t rss_anon_bytes = 0;
  std::uint64_t write_bytes = 0;  // caused to be sent to the device
  std::uint64_t write_calls = 0;
};
[[nodiscard]] std::optional<ProcessCounters> read_process(std::int32_t pid);

}  // namespace esc::bench
