#include "esc/wire/api/api_versions.h"

namespace esc::wire {

namespace {

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

bool valid_client_software(String text) {
  if (text.empty() || !is_alphanumeric(text.front()) || !is_alphanumeric(text.back())) return false;
  for (const char c : text) {
    if (!is_alphanumeric(c) && c != '-' && c != '.') return false;
  }
  return true;
}

Array<ApiVersionsResponse::ApiVersion> advertised_versions(std::span<const ApiKey> implemented,
                                                           Arena& arena) {
  const auto ranges = arena.allocate<ApiVersionsResponse::ApiVersion>(implemented.size());
  if (ranges.data() == nullptr) return {};
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const ApiInfo& api = api_info(implemented[i]);
    ranges[i] = {static_cast<std::int16_t>(api.key), api.min_advertised, api.max};
  }
  return ranges;
}

}  // namespace esc::wire
