// The log writes of an open loop without a server: what the device and the host do to the tail of the
// latencies when nobody computes, sends or copies anything.
//
// Every `interval` each group of each node has its share of what came in to write, durably
// (O_DIRECT|O_DSYNC), with up to four writes in flight and the rest gathered in the next one, as a
// write-ahead log does it. An interval is committed when a majority of the nodes has it in every group.
// Segments, network, replication and every client are left out: no server with this log on this machine can
// be faster.
#pragma once

#include <cstdint>
#include <string>

#include "esc/base/result.h"
#include "esc/base/units.h"
#include "esc/obs/histogram.h"

namespace esc::bench {

struct BareLog {
  std::string dir;
  double bytes_per_s = 0;  // what clients send; each node writes all of it
  Nanos interval = kMillisecond;
  std::uint32_t nodes = 1;
  std::uint32_t groups = 3;
  Nanos span = 2 * kSecond;
};

// Adds one sample per interval to `commits`: from its end until it is committed. Cold; one thread.
[[nodiscard]] Status measure_bare_log(obs::Histogram& commits, const BareLog& load);

}  // namespace esc::bench
