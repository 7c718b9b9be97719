// DescribeCluster (key 60), versions 0-1.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/api/metadata.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct DescribeClusterRequest {
  static constexpr ApiKey kApi = ApiKey::describe_cluster;
  static constexpr bool kIsRequest = true;

  bool include_cluster_authorized_operations = false;
  std::int8_t endpoint_type = 1;

  static void describe(auto& field, auto& self) {
    field("include_cluster_authorized_operations", self.include_cluster_authorized_operations);
    field("endpoint_type", self.endpoint_type, {.since = 1});
  }
};

struct DescribeClusterResponse {
  static constexpr ApiKey kApi = ApiKey::describe_cluster;
  static constexpr bool kIsRequest = false;

  struct Broker {
    std::int32_t broker_id = 0;
    String host{};
    std::int32_t port = 0;
    NullableString rack{};

    static void describe(auto& field, auto& self) {
      field("broker_id", self.broker_id);
      field("host", self.host);
      field("port", self.port);
      field("rack", self.rack, {.nullable_since = 0});
    }
  };

  std::int32_t throttle_time_ms = 0;
  ErrorCode error_code = ErrorCode::none;
  NullableString error_message{};
  std::int8_t endpoint_type = 1;
  String cluster_id{};
  std::int32_t controller_id = -1;
  Array<Broker> brokers{};
  std::int32_t cluster_authorized_operations = kNoAuthorizedOperations;

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms);
    field("error_code", self.error_code);
    field("error_message", self.error_message, {.nullable_since = 0});
    field("endpoint_type", self.endpoint_type, {.since = 1});
    field("cluster_id", self.cluster_id);
    field("controller_id", self.controller_id);
    field("brokers", self.brokers);
    field("cluster_authorized_operations", self.cluster_authorized_operations);
  }
};

}  // namespace esc::wire
