// The byte sink of the encoders: a caller-owned buffer, and optionally a list of splits that lets large
// byte runs (the records of a fetch response) stay where they are until a gathered send picks them up.
//
// Overflow is sticky: a writer that ran out of room ignores further writes and says so in overflowed();
// the caller checks once, at the end. Threading: single owner. No allocation.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "esc/base/bytes.h"

namespace esc::wire {

// `bytes` belongs between byte position-1 and byte position of the buffer. Splits are in message order;
// several may share a position.
struct Split {
  std::size_t position = 0;
  ByteView bytes{};
};

class Writer {
 public:
  // Copy mode: everything lands in `buffer`.
  explicit Writer(ByteSpan buffer) : buffer_(buffer) {}
  // Gather mode: external runs of at least `gather_from_bytes` become splits while `splits` has room; shorter
  // ones are copied, because an iovec entry costs more than a short memcpy.
  Writer(ByteSpan buffer, std::span<Split> splits, std::size_t gather_from_bytes = 1)
      : buffer_(buffer), splits_(splits), gather_from_bytes_(std::max<std::size_t>(gather_from_bytes, 1)) {}

  template <std::integral T>
  void put_be(T value) {
    if (std::byte* to = claim(sizeof(T))) store_be<T>(to, value);
  }
  void put_byte(std::uint8_t value) {
    if (std::byte* to = claim(1)) *to = std::byte{value};
  }
  void put_bytes(ByteView bytes) {
    if (bytes.empty()) return;
    if (std::byte* to = claim(bytes.size())) std::memcpy(to, bytes.data(), bytes.size());
  }
  // LEB128, as Kafka's UNSIGNED_VARINT.
  void put_uvarint(std::uint64_t value) {
    while (value >= 0x80) {
      put_byte(static_cast<std::uint8_t>(value | 0x80));
      value >>= 7;
    }
    put_byte(static_cast<std::uint8_t>(value));
  }
  // Bytes that need not be copied; they must outlive the send.
  void put_external(ByteView bytes) {
    if (bytes.size() < gather_from_bytes_ || split_count_ == splits_.size()) return put_bytes(bytes);
    if (overflowed_) return;
    splits_[split_count_++] = {used_, bytes};
    external_bytes_ += bytes.size();
  }
  // Overwrites four bytes written before.
  void patch_be32(std::size_t position, std::int32_t value) {
    if (overflowed_ || position + sizeof value > used_) return;
    store_be<std::int32_t>(buffer_.data() + position, value);
  }
  // Marks the message as impossible to encode (a string longer than its length field can say).
  void fail() { overflowed_ = true; }

  [[nodiscard]] bool overflowed() const { return overflowed_; }
  // Bytes in the buffer.
  [[nodiscard]] std::size_t position() const { return used_; }
  // Bytes of the whole message: buffer and splits.
  [[nodiscard]] std::size_t total_bytes() const { return used_ + external_bytes_; }
  [[nodiscard]] ByteView written() const { return buffer_.first(used_); }
  [[nodiscard]] std::span<const Split> splits() const { return splits_.first(split_count_); }

  // Calls piece(ByteView) for every run of the message, in order; together they are total_bytes() long.
  template <class Piece>
  void for_each_piece(Piece&& piece) const {
    std::size_t from = 0;
    for (const Split& split : splits()) {
      if (split.position > from) piece(ByteView(buffer_.subspan(from, split.position - from)));
      piece(split.bytes);
      from = split.position;
    }
    if (used_ > from) piece(ByteView(buffer_.subspan(from, used_ - from)));
  }

 private:
  std::byte* claim(std::size_t bytes) {
    if (overflowed_ || bytes > buffer_.size() - used_) {
      overflowed_ = true;
      return nullptr;
    }
    std::byte* at = buffer_.data() + used_;
    used_ += bytes;
    return at;
  }

  ByteSpan buffer_;
  std::size_t used_ = 0;
  std::span<Split> splits_;
  std::size_t split_count_ = 0;
  std::size_t gather_from_bytes_ = 1;
  std::size_t external_bytes_ = 0;
  bool overflowed_ = false;
};

}  // namespace esc::wire
