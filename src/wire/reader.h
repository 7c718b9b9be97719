// The byte source of the decoders: a bounded cursor with a sticky error. After an error every take returns
// zero or nothing, so that decoders check once per array item, not once per field.
#pragma once

#include <cstddef>
#include <cstdint>

#include "esc/base/bytes.h"
#include "esc/base/result.h"
#include "esc/wire/codec.h"

namespace esc::wire {

class Reader {
 public:
  explicit Reader(ByteView bytes) : bytes_(bytes) {}

  template <std::integral T>
  T take() {
    if (sizeof(T) > remaining()) [[unlikely]] {
      fail(Errc::torn, "message ends inside a field");
      return 0;
    }
    const T value = load_be<T>(bytes_.data() + position_);
    position_ += sizeof(T);
    return value;
  }
  ByteView take_bytes(std::size_t count) {
    if (count > remaining()) [[unlikely]] {
      fail(Errc::torn, "length exceeds the bytes that follow");
      return {};
    }
    const ByteView taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }
  void skip(std::size_t count) { (void)take_bytes(count); }
  // UNSIGNED_VARINT: at most five bytes, at most 32 bits.
  std::uint32_t take_uvarint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
      const auto byte = take<std::uint8_t>();
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) {
        if (value > 0xffffffffU) break;
        return static_cast<std::uint32_t>(value);
      }
    }
    fail(Errc::corruption, "variable-length integer is too long");
    return 0;
  }

  // Keeps the first error. `reason` is static text.
  void fail(Errc code, const char* reason) {
    if (error_.code != Errc::ok) return;
    error_ = {code, reason, position_};
    bytes_ = bytes_.first(position_);  // nothing more can be taken
  }

  [[nodiscard]] bool ok() const { return error_.code == Errc::ok; }
  [[nodiscard]] const DecodeError& error() const { return error_; }
  [[nodiscard]] std::size_t position() const { return position_; }
  [[nodiscard]] std::size_t remaining() const { return bytes_.size() - position_; }

 private:
  ByteView bytes_;
  std::size_t position_ = 0;
  DecodeError error_;
};

}  // namespace esc::wire
