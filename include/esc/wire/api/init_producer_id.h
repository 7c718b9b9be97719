// InitProducerId (key 22), versions 0-4.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct InitProducerIdRequest {
  static constexpr ApiKey kApi = ApiKey::init_producer_id;
  static constexpr bool kIsRequest = true;

  NullableString transactional_id{};
  std::int32_t transaction_timeout_ms = 0;
  std::int64_t producer_id = -1;
  std::int16_t producer_epoch = -1;

  static void describe(auto& field, auto& self) {
    field("transactional_id", self.transactional_id, {.nullable_since = 0});
    field("transaction_timeout_ms", self.transaction_timeout_ms);
    field("producer_id", self.producer_id, {.since = 3});
    field("producer_epoch", self.producer_epoch, {.since = 3});
  }
};

struct InitProducerIdResponse {
  static constexpr ApiKey kApi = ApiKey::init_producer_id;
  static constexpr bool kIsRequest = false;

  std::int32_t throttle_time_ms = 0;
  ErrorCode error_code = ErrorCode::none;
  std::int64_t producer_id = -1;
  std::int16_t producer_epoch = 0;

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms);
    field("error_code", self.error_code);
    field("producer_id", self.producer_id);
    field("producer_epoch", self.producer_epoch);
  }
};

}  // namespace esc::wire
