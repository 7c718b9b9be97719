// Whole messages on a connection: int32 size, header, body.
//
//   request   size | api key, version, correlation id, client id (always int16 length) [tagged fields] | body
//   response  size | correlation id [tagged fields] | body
//
// The size does not count itself. Header versions come from kApis.
#pragma once

#include <cstddef>
#include <cstdint>

#include "esc/wire/api.h"
#include "esc/wire/codec.h"
#include "esc/wire/types.h"
#include "esc/wire/writer.h"

namespace esc::wire {

inline constexpr std::size_t kSizePrefixBytes = 4;
inline constexpr std::int32_t kRequestBytesMin = 8;  // api key, version, correlation id

// The message size that the first four bytes of a frame announce. Refused below `bytes_min` and above
// `bytes_max`: close the connection, since the stream cannot be trusted any further.
[[nodiscard]] Decoded<std::uint32_t> frame_size(ByteView prefix, std::uint32_t bytes_max,
                                                std::int32_t bytes_min = kRequestBytesMin);

struct Request {
  const ApiInfo* api = nullptr;
  std::int16_t version = 0;
  std::int32_t correlation_id = 0;
  NullableString client_id{};
  ByteView body{};
  // False: the key is known but not this version. ApiVersions is then answered with a v0 body and error
  // unsupported_version; any other API closes the connection. The body must not be decoded.
  bool version_supported = false;
};

// `frame` is the message without its size prefix. An unknown API key is Errc::unsupported.
[[nodiscard]] Decoded<Request> parse_request(ByteView frame);

struct Response {
  std::int32_t correlation_id = 0;
  ByteView body{};
};
// For clients, who know which request they sent. `frame` is without the size prefix.
[[nodiscard]] Decoded<Response> parse_response(ByteView frame, ApiKey key, std::int16_t version);

// A message being written: begin_*, encode the body, end_message. Messages may follow one another in one
// writer.
struct MessageMark {
  std::size_t size_position = 0;
  std::size_t start_bytes = 0;
};
[[nodiscard]] MessageMark begin_response(Writer& writer, ApiKey key, std::int16_t version,
                                         std::int32_t correlation_id);
[[nodiscard]] MessageMark begin_request(Writer& writer, ApiKey key, std::int16_t version,
                                        std::int32_t correlation_id, NullableString client_id);
// Fills in the size, splits included.
void end_message(Writer& writer, MessageMark mark);

// A complete framed message. Check writer.overflowed() afterwards.
template <class Message>
void encode_response(Writer& writer, const Message& message, std::int16_t version,
                     std::int32_t correlation_id) {
  static_assert(!Message::kIsRequest);
  const MessageMark mark = begin_response(writer, Message::kApi, version, correlation_id);
  encode(writer, message, version);
  end_message(writer, mark);
}
template <class Message>
void encode_request(Writer& writer, const Message& message, std::int16_t version, std::int32_t correlation_id,
                    NullableString client_id) {
  static_assert(Message::kIsRequest);
  const MessageMark mark = begin_request(writer, Message::kApi, version, correlation_id, client_id);
  encode(writer, message, version);
  end_message(writer, mark);
}

}  // namespace esc::wire
