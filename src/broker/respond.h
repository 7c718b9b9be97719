// The template members of Broker that handlers use. Private to the module.
#pragma once

#include <algorithm>

#include "connection.h"
#include "esc/broker/broker.h"
#include "esc/wire/message.h"

namespace esc::broker {

inline constexpr std::size_t kArenaBytesFirst = 4 * 1024;
inline constexpr std::size_t kArenaGrowth = 8;
inline constexpr std::size_t kResponseBytesFirst = 1024;
inline constexpr std::size_t kResponseBytesMax = 8 * 1024 * 1024;

template <class Message>
const Message* Broker::decode(Request& request) {
  for (std::size_t bytes = kArenaBytesFirst;; bytes *= kArenaGrowth) {
    if (!set_arena(request, bytes)) {
      protocol_error(request, "no memory to decode the request");
      return nullptr;
    }
    auto decoded = wire::decode<Message>(request.header.body, request.header.version, request.arena);
    // Handlers need some of the arena, too.
    if (decoded &&
        request.arena.capacity() - request.arena.used() >= sizeof(Message) + kArenaBytesFirst / 4) {
      auto space = request.arena.allocate<Message>(1);
      space[0] = *decoded;
      return space.data();
    }
    const bool too_small = decoded.has_value() || decoded.error().code == Errc::too_large;
    if (!too_small || bytes >= request_pool_.bytes_max() / kArenaGrowth) {
      protocol_error(request, decoded.has_value() ? "the request is too large" : decoded.error().reason);
      return nullptr;
    }
  }
}

// Room for `count` objects that live as long as the request, beyond what decode() left: grows into a buffer
// of its own. Null when there is no memory.
template <class T>
std::span<T> Broker::allocate(Request& request, std::size_t count) {
  if (std::span<T> fits = request.arena.allocate<T>(count); fits.data() != nullptr) return fits;
  if (request.extra.full()) return {};
  const ByteSpan block = request_pool_.allocate(std::max(count * sizeof(T) + alignof(T), kArenaBytesFirst));
  if (block.empty()) return {};
  request.extra.push_back(block);
  Arena arena(block);
  return arena.allocate<T>(count);
}

template <class Message>
void Broker::respond(Request& request, const Message& message) {
  for (std::size_t bytes = kResponseBytesFirst; bytes <= kResponseBytesMax; bytes *= 4) {
    ByteSpan buffer = response_pool_.allocate(bytes);
    BufferPool* pool = &response_pool_;
    if (buffer.empty()) {
      buffer = request_pool_.allocate(bytes);
      pool = &request_pool_;
    }
    if (buffer.empty()) break;
    wire::Writer writer(buffer);
    wire::encode_response(writer, message, request.header.version, request.header.correlation_id);
    if (writer.overflowed()) {
      pool->free(buffer);
      continue;
    }
    request.output = buffer;
    request.output_pool = pool;
    request.pieces[0] = {buffer.data(), writer.position()};
    request.response = {request.pieces, 1};
    request.response_bytes = writer.position();
    complete(request);
    return;
  }
  protocol_error(request, "no memory for the response");
}

template <class Message>
void Broker::respond_gathered(Request& request, const Message& message, std::size_t records_max) {
  const auto splits = allocate<wire::Split>(request, records_max);
  const auto pieces = allocate<struct iovec>(request, 2 * records_max + 1);
  for (std::size_t bytes = kResponseBytesFirst; bytes <= kResponseBytesMax; bytes *= 4) {
    const ByteSpan buffer = request_pool_.allocate(bytes);
    if (buffer.empty() || pieces.data() == nullptr || (splits.data() == nullptr && records_max > 0)) {
      if (!buffer.empty()) request_pool_.free(buffer);
      break;
    }
    wire::Writer writer(buffer, splits);
    wire::encode_response(writer, message, request.header.version, request.header.correlation_id);
    if (writer.overflowed()) {
      request_pool_.free(buffer);
      continue;
    }
    std::size_t count = 0;
    writer.for_each_piece(
        [&](ByteView piece) { pieces[count++] = {const_cast<std::byte*>(piece.data()), piece.size()}; });
    request.output = buffer;
    request.output_pool = &request_pool_;
    request.response = pieces.first(count);
    request.response_bytes = writer.total_bytes();
    complete(request);
    return;
  }
  protocol_error(request, "no memory for the response");
}

}  // namespace esc::broker
