#include "esc/wire/message.h"

#include <limits>

#include "reader.h"

namespace esc::wire {

namespace {

// No header tag is defined; all are skipped.
void skip_tagged_fields(Reader& reader) {
  const std::uint32_t count = reader.take_uvarint();
  for (std::uint32_t i = 0; i < count && reader.ok(); ++i) {
    (void)reader.take_uvarint();
    reader.skip(reader.take_uvarint());
  }
}

MessageMark begin_message(Writer& writer) {
  const MessageMark mark{writer.position(), writer.total_bytes()};
  writer.put_be(std::int32_t{0});
  return mark;
}

}  // namespace

Decoded<std::uint32_t> frame_size(ByteView prefix, std::uint32_t bytes_max, std::int32_t bytes_min) {
  if (prefix.size() < kSizePrefixBytes) {
    return std::unexpected(DecodeError{Errc::torn, "size prefix is incomplete", prefix.size()});
  }
  const auto size = load_be<std::int32_t>(prefix.data());
  if (size < bytes_min)
    return std::unexpected(DecodeError{Errc::corruption, "message is shorter than its header", 0});
  if (static_cast<std::uint32_t>(size) > bytes_max) {
    return std::unexpected(DecodeError{Errc::too_large, "message exceeds the size limit", 0});
  }
  return static_cast<std::uint32_t>(size);
}

Decoded<Request> parse_request(ByteView frame) {
  Reader reader(frame);
  const auto key = reader.take<std::int16_t>();
  Request request;
  request.version = reader.take<std::int16_t>();
  request.correlation_id = reader.take<std::int32_t>();
  if (!reader.ok()) return std::unexpected(reader.error());
  request.api = find_api(key);
  if (request.api == nullptr) return std::unexpected(DecodeError{Errc::unsupported, "unknown API key", 0});

  // The client id keeps its int16 length in header v2, so that it can be read whatever the version (KIP-511).
  const auto client_id_bytes = reader.take<std::int16_t>();
  if (client_id_bytes < -1) reader.fail(Errc::corruption, "negative length of the client id");
  if (client_id_bytes >= 0)
    request.client_id = as_text(reader.take_bytes(static_cast<std::size_t>(client_id_bytes)));
  request.version_supported = request.api->supports(request.version);
  if (request.version_supported && request.api->request_header_version(request.version) >= 2) {
    skip_tagged_fields(reader);
  }
  if (!reader.ok()) return std::unexpected(reader.error());
  request.body = frame.subspan(reader.position());
  return request;
}

Decoded<Response> parse_response(ByteView frame, ApiKey key, std::int16_t version) {
  Reader reader(frame);
  Response response;
  response.correlation_id = reader.take<std::int32_t>();
  if (api_info(key).response_header_version(version) >= 1) skip_tagged_fields(reader);
  if (!reader.ok()) return std::unexpected(reader.error());
  response.body = frame.subspan(reader.position());
  return response;
}

MessageMark begin_response(Writer& writer, ApiKey key, std::int16_t version, std::int32_t correlation_id) {
  const MessageMark mark = begin_message(writer);
  writer.put_be(correlation_id);
  if (api_info(key).response_header_version(version) >= 1) writer.put_uvarint(0);
  return mark;
}

MessageMark begin_request(Writer& writer, ApiKey key, std::int16_t version, std::int32_t correlation_id,
                          NullableString client_id) {
  const MessageMark mark = begin_message(writer);
  writer.put_be(static_cast<std::int16_t>(key));
  writer.put_be(version);
  writer.put_be(correlation_id);
  if (client_id.has_value()) {
    if (client_id->size() > static_cast<std::size_t>(std::numeric_limits<std::int16_t>::max())) writer.fail();
    writer.put_be(static_cast<std::int16_t>(client_id->size()));
    writer.put_bytes(as_bytes(*client_id));
  } else {
    writer.put_be(std::int16_t{-1});
  }
  if (api_info(key).request_header_version(version) >= 2) writer.put_uvarint(0);
  return mark;
}

void end_message(Writer& writer, MessageMark mark) {
  const std::size_t bytes = writer.total_bytes() - mark.start_bytes - kSizePrefixBytes;
  if (bytes > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) return writer.fail();
  writer.patch_be32(mark.size_position, static_cast<std::int32_t>(bytes));
}

}  // namespace esc::wire
