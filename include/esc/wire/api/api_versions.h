// ApiVersions (key 18), versions 0-4.
#pragma once

#include "esc/base/arena.h"
#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct ApiVersionsRequest {
  static constexpr ApiKey kApi = ApiKey::api_versions;
  static constexpr bool kIsRequest = true;

  String client_software_name{};
  String client_software_version{};

  static void describe(auto& field, auto& self) {
    field("client_software_name", self.client_software_name, {.since = 3});
    field("client_software_version", self.client_software_version, {.since = 3});
  }
};

// True when text matches [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])? (KIP-511); else answer invalid_request.
[[nodiscard]] bool valid_client_software(String text);

struct ApiVersionsResponse {
  static constexpr ApiKey kApi = ApiKey::api_versions;
  static constexpr bool kIsRequest = false;

  struct ApiVersion {
    std::int16_t api_key = 0;
    std::int16_t min_version = 0;
    std::int16_t max_version = 0;

    static void describe(auto& field, auto& self) {
      field("api_key", self.api_key);
      field("min_version", self.min_version);
      field("max_version", self.max_version);
    }
  };
  struct SupportedFeature {
    String name{};
    std::int16_t min_version = 0;
    std::int16_t max_version = 0;

    static void describe(auto& field, auto& self) {
      field("name", self.name, {.since = 3});
      field("min_version", self.min_version, {.since = 3});
      field("max_version", self.max_version, {.since = 3});
    }
  };
  struct FinalizedFeature {
    String name{};
    std::int16_t max_version_level = 0;
    std::int16_t min_version_level = 0;

    static void describe(auto& field, auto& self) {
      field("name", self.name, {.since = 3});
      field("max_version_level", self.max_version_level, {.since = 3});
      field("min_version_level", self.min_version_level, {.since = 3});
    }
  };

  ErrorCode error_code = ErrorCode::none;
  Array<ApiVersion> api_keys{};
  std::int32_t throttle_time_ms = 0;
  Array<SupportedFeature> supported_features{};  // tagged
  std::int64_t finalized_features_epoch = -1;    // tagged
  Array<FinalizedFeature> finalized_features{};  // tagged
  bool zk_migration_ready = false;               // tagged

  static void describe(auto& field, auto& self) {
    field("error_code", self.error_code);
    field("api_keys", self.api_keys);
    field("throttle_time_ms", self.throttle_time_ms, {.since = 1});
  }
  static void describe_tagged(auto& field, auto& self) {
    field(0, "supported_features", self.supported_features, {.since = 3});
    field(1, "finalized_features_epoch", self.finalized_features_epoch, {.since = 3});
    field(2, "finalized_features", self.finalized_features, {.since = 3});
    field(3, "zk_migration_ready", self.zk_migration_ready, {.since = 3});
  }
};

// The advertised ranges of the APIs the caller implements, in the order given. Empty when the arena is
// exhausted or nothing is implemented.
[[nodiscard]] Array<ApiVersionsResponse::ApiVersion> advertised_versions(std::span<const ApiKey> implemented,
                                                                         Arena& arena);

}  // namespace esc::wire
