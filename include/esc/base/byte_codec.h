// A growing little-endian writer and a bounded reader for our own cold formats (checkpoints, metadata
// commands). The reader never leaves its bytes: past the end it yields zeroes and failed() turns true.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "esc/base/bytes.h"

namespace esc {

class ByteWriter {
 public:
  // Appends to `out`, whose capacity is kept by the caller between uses.
  explicit ByteWriter(std::vector<std::byte>& out) : out_(out) {}

  template <std::integral T>
  void number(T value) {
    const std::size_t at = out_.size();
    out_.resize(at + sizeof value);
    store_le(out_.data() + at, value);
  }
  void bytes(ByteView value) { out_.insert(out_.end(), value.begin(), value.end()); }
  // u32 length, then the bytes.
  void blob(ByteView value) {
    number(static_cast<std::uint32_t>(value.size()));
    bytes(value);
  }
  void text(std::string_view value) { blob(as_bytes(value)); }

 private:
  std::vector<std::byte>& out_;
};

class ByteReader {
 public:
  explicit ByteReader(ByteView bytes) : bytes_(bytes) {}

  template <std::integral T>
  [[nodiscard]] T number() {
    const ByteView raw = bytes(sizeof(T));
    return raw.size() == sizeof(T) ? load_le<T>(raw.data()) : T{};
  }
  [[nodiscard]] ByteView bytes(std::size_t count) {
    if (failed_ || count > bytes_.size() - position_) {
      failed_ = true;
      return {};
    }
    const ByteView view = bytes_.subspan(position_, count);
    position_ += count;
    return view;
  }
  [[nodiscard]] ByteView blob() { return bytes(number<std::uint32_t>()); }
  [[nodiscard]] std::string text() { return std::string(as_text(blob())); }
  // An element count, refused when fewer than `bytes_each` per element are left.
  [[nodiscard]] std::uint32_t count(std::size_t bytes_each) {
    const auto n = number<std::uint32_t>();
    if (bytes_each != 0 && n > (bytes_.size() - position_) / bytes_each) failed_ = true;
    return failed_ ? 0 : n;
  }

  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] bool at_end() const { return !failed_ && position_ == bytes_.size(); }

 private:
  ByteView bytes_;
  std::size_t position_ = 0;
  bool failed_ = false;
};

}  // namespace esc
