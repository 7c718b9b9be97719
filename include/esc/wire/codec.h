// Encoding and decoding of message bodies (without size prefix and header; message.h adds those).
//
// decode() is safe on any bytes: array counts are checked against the bytes that remain before anything is
// allocated, every length is bounded, trailing bytes are an error. Both are defined for the request and
// response struct of every API in api.h (explicitly instantiated in src/wire). No allocation besides the
// arena, no exceptions, no state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>

#include "esc/base/arena.h"
#include "esc/base/bytes.h"
#include "esc/base/result.h"
#include "esc/wire/writer.h"

namespace esc::wire {

// code: torn (bytes end too early), corruption (impossible length, null where none may be, trailing bytes),
// too_large (arena exhausted, frame over its limit), unsupported (version or API key).
struct DecodeError {
  Errc code = Errc::ok;
  const char* reason = "";   // static text
  std::size_t position = 0;  // where in the input
};
template <class T>
using Decoded = std::expected<T, DecodeError>;

template <class Message>
[[nodiscard]] Decoded<Message> decode(ByteView body, std::int16_t version, Arena& arena);

// Appends the body. Fails (sticky, in the writer) when the buffer is too small or the version unsupported.
template <class Message>
void encode(Writer& writer, const Message& message, std::int16_t version);

}  // namespace esc::wire
