// The cold half of a Kafka client: metadata, topic creation, offsets. Blocking; any failure is a sentence.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "connection.h"
#include "esc/base/arena.h"
#include "esc/base/result.h"
#include "esc/wire/message.h"
#include "options.h"

namespace esc::bench {

inline constexpr std::string_view kClientId = "esc-bench";

// Who leads what, as one broker told.
struct ClusterMap {
  struct Broker {
    std::int32_t id = -1;
    Address address;
  };
  std::vector<Broker> brokers;
  std::vector<std::int32_t> leaders;  // broker id per partition; -1 = none right now

  [[nodiscard]] const Broker* broker(std::int32_t id) const;
  [[nodiscard]] bool complete() const;  // every partition has a leader we know
};

class ClusterClient {
 public:
  // Connects and asks for the versions the server speaks.
  [[nodiscard]] static Result<std::unique_ptr<ClusterClient>> open(const Address& bootstrap);

  // not_found: no such topic.
  [[nodiscard]] Result<ClusterMap> metadata(std::string_view topic);
  // already_exists is not an error.
  [[nodiscard]] Status create_topic(const Options& options);
  // Waits until every partition has a leader.
  [[nodiscard]] Result<ClusterMap> wait_for_leaders(std::string_view topic, Nanos timeout);
  // `timestamp`: -1 latest, -2 earliest. One offset per partition, each asked from its leader.
  [[nodiscard]] static Result<std::vector<std::int64_t>> list_offsets(const ClusterMap& map,
                                                                      std::string_view topic,
                                                                      std::int64_t timestamp);

 private:
  explicit ClusterClient(std::unique_ptr<Connection> connection);
  template <class Response, class Request>
  [[nodiscard]] Result<Response> call(const Request& request);
  [[nodiscard]] std::int16_t version_of(wire::ApiKey key) const;
  [[nodiscard]] Status learn_versions();
  [[nodiscard]] Status go_to_controller();

  std::unique_ptr<Connection> connection_;
  std::int32_t correlation_ = 0;
  std::unordered_map<std::int16_t, std::int16_t> server_max_;
  // Not initialised: a producer that looks for a new leader has no time to clear them.
  std::unique_ptr<std::byte[]> request_;
  std::unique_ptr<std::byte[]> memory_;
  Arena arena_;
};

}  // namespace esc::bench
