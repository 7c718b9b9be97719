// How far committed offsets are behind the ends of their partitions, asked of the cores that have these. This
// node has a replica of every partition: of one that is led elsewhere the end is what has arrived here, at
// most a heartbeat old.
//
// Seconds of lag: now minus the timestamp of the batch that holds the first record not consumed.
//
// Threading: `measure` and `done` on the core of the broker; between them items belong to other cores.
// Memory: of the broker's response pool, while it lasts: without it times are unknown.
#pragma once

#include <string>
#include <vector>

#include "esc/base/ids.h"
#include "esc/broker/broker.h"
#include "esc/broker/call.h"
#include "esc/coord/state.h"
#include "esc/store/partition_log.h"
#include "esc/wire/error_code.h"

namespace esc::broker {

struct LagItem {
  std::string topic;
  std::int32_t index = 0;
  coord::CommittedOffset committed;
  // Answers; -1 is not known.
  PartitionId partition;
  GroupId group;
  wire::ErrorCode code = wire::ErrorCode::none;
  Offset log_start{-1};
  Offset log_end{-1};
  std::int64_t lag_events = -1;
  std::int64_t lag_ms = -1;
};

class LagSurvey {
 public:
  virtual ~LagSurvey() = default;
  LagSurvey() = default;
  LagSurvey(const LagSurvey&) = delete;
  LagSurvey& operator=(const LagSurvey&) = delete;

  // Answers `items`, then calls done(), perhaps inside this call. Batches larger than `batch_bytes_max` are
  // not read for their time.
  void measure(Broker& broker, std::size_t batch_bytes_max);
  std::vector<LagItem> items;

 private:
  // The partitions of one core, one after the other.
  struct Part : Call {
    LagSurvey* survey = nullptr;
    Broker* owner = nullptr;  // there
    std::vector<LagItem*> items;
    std::size_t cursor = 0;
    ByteSpan scratch;
    store::ReadOp read;
  };

  virtual void done(Broker& broker) = 0;  // may delete this
  static void go_on(Part& part);
  [[nodiscard]] static bool look_at(Part& part, LagItem& item);
  static void read_file(Part& part, std::size_t bytes);
  static void on_read(store::ReadOp& read, Errc code);
  static void take_time(Part& part, LagItem& item, ByteView bytes);
  static void part_done(Call& base, Broker& broker);

  std::vector<Part> parts_;  // by core
  std::size_t outstanding_ = 0;
};

}  // namespace esc::broker
