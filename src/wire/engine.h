// The codecs behind codec.h: three visitors of a message's description.
//
//   MinSizer  the fewest bytes a value can take in a version; bounds array counts before allocation
//   Decoder   bytes to structs
//   Encoder   structs to bytes; also counts bytes for the size of tagged fields
//
// One .cpp per group of APIs instantiates them; nothing else includes this file.
#pragma once

#include <concepts>
#include <limits>
#include <type_traits>

#include "esc/wire/api.h"
#include "esc/wire/codec.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"
#include "reader.h"

namespace esc::wire::engine {

template <class T>
concept Scalar = std::integral<T> || std::is_enum_v<T>;
struct AnyVisitor {
  template <class... Any>
  void operator()(Any&&...) {}
};
template <class T>
concept Tagged = requires(AnyVisitor& visitor, T& self) { T::describe_tagged(visitor, self); };

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsArray : std::false_type {};
template <class T>
struct IsArray<std::span<const T>> : std::bool_constant<!std::same_as<T, std::byte>> {};

// Kafka bounds strings by the int16 of the older encoding in flexible versions too.
inline constexpr std::uint32_t kStringBytesMax = std::numeric_limits<std::int16_t>::max();

struct Format {
  std::int16_t version;
  bool flexible;
};

// ---------------------------------------------------------------------------------------------------------

template <class T>
std::size_t min_bytes(Format format);

class MinSizer {
 public:
  explicit MinSizer(Format format) : format_(format) {}
  template <class T>
  void operator()(const char*, T&, Field field = {}) {
    if (field.present(format_.version)) total_ += min_bytes<std::remove_const_t<T>>(format_);
  }
  [[nodiscard]] std::size_t total() const { return total_; }

 private:
  Format format_;
  std::size_t total_ = 0;
};

template <class T>
std::size_t min_bytes(Format format) {
  if constexpr (Scalar<T>)
    return sizeof(T);
  else if constexpr (std::same_as<T, Uuid>)
    return sizeof(Uuid);
  else if constexpr (IsOptional<T>::value)
    return min_bytes<typename T::value_type>(format);
  else if constexpr (std::same_as<T, String>)
    return format.flexible ? 1 : 2;
  else if constexpr (std::same_as<T, Bytes> || std::same_as<T, Records> || IsArray<T>::value)
    return format.flexible ? 1 : 4;
  else {
    MinSizer sizer(format);
    T self;
    T::describe(sizer, self);
    return sizer.total() + (format.flexible ? 1 : 0);
  }
}

// ---------------------------------------------------------------------------------------------------------

class Decoder {
 public:
  Decoder(Reader& reader, Arena& arena, Format format) : reader_(reader), arena_(arena), format_(format) {}

  template <class T>
  void operator()(const char*, T& value, Field field = {}) {
    if (field.present(format_.version)) read(value, field);
  }

  template <class T>
  void read_struct(T& self) {
    T::describe(*this, self);
    if (format_.flexible) read_tagged(self);
  }

 private:
  // Reads the one field whose tag the wire gave, out of a struct's tagged fields.
  class TagMatcher {
   public:
    TagMatcher(Decoder& decoder, std::uint32_t tag) : decoder_(decoder), tag_(tag) {}
    template <class T>
    void operator()(std::uint32_t tag, const char*, T& value, Field field) {
      if (tag != tag_ || !field.present(decoder_.format_.version)) return;
      decoder_.read(value, field);
      matched_ = true;
    }
    [[nodiscard]] bool matched() const { return matched_; }

   private:
    Decoder& decoder_;
    std::uint32_t tag_;
    bool matched_ = false;
  };

  template <class T>
  void read_tagged(T& self) {
    const std::uint32_t count = reader_.take_uvarint();
    for (std::uint32_t i = 0; i < count && reader_.ok(); ++i) {
      const std::uint32_t tag = reader_.take_uvarint();
      const std::uint32_t bytes = reader_.take_uvarint();
      if (bytes > reader_.remaining())
        return reader_.fail(Errc::torn, "tagged field longer than the message");
      if constexpr (Tagged<T>) {
        const std::size_t end = reader_.position() + bytes;
        TagMatcher matcher(*this, tag);
        T::describe_tagged(matcher, self);
        if (matcher.matched()) {
          if (reader_.ok() && reader_.position() != end) {
            reader_.fail(Errc::corruption, "tagged field does not fill its size");
          }
          continue;
        }
      }
      reader_.skip(bytes);
    }
  }

  template <class T>
  void read(T& value, Field field) {
    if constexpr (std::same_as<T, bool>) {
      value = reader_.take<std::uint8_t>() != 0;
    } else if constexpr (std::is_enum_v<T>) {
      value = static_cast<T>(reader_.take<std::underlying_type_t<T>>());
    } else if constexpr (std::integral<T>) {
      value = reader_.take<T>();
    } else if constexpr (std::same_as<T, Uuid>) {
      const ByteView bytes = reader_.take_bytes(sizeof(Uuid));
      if (!bytes.empty()) std::memcpy(value.bytes.data(), bytes.data(), sizeof(Uuid));
    } else if constexpr (IsOptional<T>::value) {
      read_nullable(value, field);
    } else if constexpr (std::same_as<T, Records>) {
      read_records(value, field);
    } else if constexpr (std::same_as<T, String> || std::same_as<T, Bytes> || IsArray<T>::value) {
      const Length length = take_length<T>();
      if (length.null) return reader_.fail(Errc::corruption, "null in a field that may not be null");
      read_payload(value, length.count);
    } else {
      read_struct(value);
    }
  }

  struct Length {
    bool null = false;
    std::uint32_t count = 0;
  };
  // The length or count that starts strings, bytes and arrays.
  template <class T>
  Length take_length() {
    if (format_.flexible) {
      const std::uint32_t coded = reader_.take_uvarint();
      if (coded == 0) return {.null = true};
      if (coded - 1 > static_cast<std::uint32_t>(std::numeric_limits<std::int32_t>::max())) {
        reader_.fail(Errc::corruption, "length above 2^31");
        return {};
      }
      if (std::same_as<T, String> && coded - 1 > kStringBytesMax) {
        reader_.fail(Errc::corruption, "string longer than 32767 bytes");
        return {};
      }
      return {.count = coded - 1};
    }
    std::int32_t length = 0;
    if constexpr (std::same_as<T, String>)
      length = reader_.take<std::int16_t>();
    else
      length = reader_.take<std::int32_t>();
    if (length == -1) return {.null = true};
    if (length < 0) {
      reader_.fail(Errc::corruption, "negative length");
      return {};
    }
    return {.count = static_cast<std::uint32_t>(length)};
  }

  template <class T>
  void read_nullable(std::optional<T>& value, Field field) {
    const Length length = take_length<T>();
    if (length.null) {
      if (!field.nullable(format_.version))
        reader_.fail(Errc::corruption, "null in a field that may not be null");
      value.reset();
      return;
    }
    read_payload(value.emplace(), length.count);
  }

  void read_records(Records& value, Field field) {
    const Length length = take_length<Records>();
    value.null = length.null;
    if (length.null && !field.nullable(format_.version)) {
      reader_.fail(Errc::corruption, "null in a field that may not be null");
    }
    read_payload(value.bytes, length.count);
  }

  void read_payload(String& value, std::uint32_t bytes) { value = as_text(reader_.take_bytes(bytes)); }
  void read_payload(Bytes& value, std::uint32_t bytes) { value = reader_.take_bytes(bytes); }
  template <class T>
  void read_payload(std::span<const T>& value, std::uint32_t count) {
    if (!reader_.ok()) return;
    if (count > reader_.remaining() / min_bytes<T>(format_)) {
      return reader_.fail(Errc::torn, "array count exceeds the bytes that follow");
    }
    const std::span<T> items = arena_.allocate<T>(count);
    if (items.data() == nullptr)
      return reader_.fail(Errc::too_large, "message does not fit the decoding arena");
    for (T& item : items) {
      read(item, Field{});
      if (!reader_.ok()) return;
    }
    value = items;
  }

  Reader& reader_;
  Arena& arena_;
  Format format_;
};

// ---------------------------------------------------------------------------------------------------------

// Equality as far as tagged fields need it: a string or array is at its default when empty.
template <class T>
bool same_as_default(const T& value, const T& fallback) {
  if constexpr (IsOptional<T>::value)
    return !value.has_value();
  else if constexpr (IsArray<T>::value || std::same_as<T, String>)
    return value.empty();
  else
    return value == fallback;
}

// Counts instead of writing; same interface as Writer, as far as the encoder uses it.
class Counter {
 public:
  template <std::integral T>
  void put_be(T) {
    total_ += sizeof(T);
  }
  void put_byte(std::uint8_t) { ++total_; }
  void put_bytes(ByteView bytes) { total_ += bytes.size(); }
  void put_external(ByteView bytes) { total_ += bytes.size(); }
  void put_uvarint(std::uint64_t value) {
    do ++total_;
    while ((value >>= 7) != 0);
  }
  void fail() {}
  [[nodiscard]] std::size_t total() const { return total_; }

 private:
  std::size_t total_ = 0;
};

template <class Sink>
class Encoder {
 public:
  Encoder(Sink& sink, Format format) : sink_(sink), format_(format) {}

  template <class T>
  void operator()(const char*, const T& value, Field field = {}) {
    if (field.present(format_.version)) write(value, field);
  }

  template <class T>
  void write_struct(const T& self) {
    T::describe(*this, self);
    if (format_.flexible) write_tagged(self);
  }

  template <class T>
  void write(const T& value, Field field) {
    if constexpr (std::same_as<T, bool>) {
      sink_.put_byte(value ? 1 : 0);
    } else if constexpr (std::is_enum_v<T>) {
      sink_.put_be(static_cast<std::underlying_type_t<T>>(value));
    } else if constexpr (std::integral<T>) {
      sink_.put_be(value);
    } else if constexpr (std::same_as<T, Uuid>) {
      sink_.put_bytes(value.bytes);
    } else if constexpr (IsOptional<T>::value) {
      if (value.has_value())
        write(*value, field);
      else if (field.nullable(format_.version))
        put_null<typename T::value_type>();
      else
        write(typename T::value_type{}, field);
    } else if constexpr (std::same_as<T, Records>) {
      write_records(value);
    } else if constexpr (std::same_as<T, String>) {
      put_length<String>(value.size());
      sink_.put_bytes(as_bytes(value));
    } else if constexpr (std::same_as<T, Bytes>) {
      put_length<Bytes>(value.size());
      sink_.put_bytes(value);
    } else if constexpr (IsArray<T>::value) {
      put_length<T>(value.size());
      for (const auto& item : value) write(item, Field{});
    } else {
      write_struct(value);
    }
  }

 private:
  // Calls visit(tag, value, field) for the tagged fields that differ from those of a default struct.
  template <class T, class Visit>
  static void for_each_set_tag(const T& self, Format format, Visit&& visit) {
    auto outer = [&]<class V>(std::uint32_t tag, const char*, const V& value, Field field) {
      if (!field.present(format.version)) return;
      bool is_default = false;
      auto inner = [&]<class W>(std::uint32_t other_tag, const char*, const W& fallback, Field) {
        if constexpr (std::same_as<V, W>) {
          if (other_tag == tag) is_default = same_as_default(value, fallback);
        }
      };
      const T defaults{};
      T::describe_tagged(inner, defaults);
      if (!is_default) visit(tag, value, field);
    };
    T::describe_tagged(outer, self);
  }

  template <class T>
  void write_tagged(const T& self) {
    if constexpr (!Tagged<T>) {
      sink_.put_uvarint(0);
    } else {
      std::uint32_t count = 0;
      for_each_set_tag(self, format_, [&](std::uint32_t, const auto&, Field) { ++count; });
      sink_.put_uvarint(count);
      for_each_set_tag(self, format_, [&](std::uint32_t tag, const auto& value, Field field) {
        Counter counter;
        Encoder<Counter>(counter, format_).write(value, field);
        sink_.put_uvarint(tag);
        sink_.put_uvarint(counter.total());
        write(value, field);
      });
    }
  }

  void write_records(const Records& records) {
    if (records.null) return put_null<Records>();
    put_length<Records>(records.size());
    if (records.pieces.empty()) return sink_.put_external(records.bytes);
    for (const ByteView piece : records.pieces) sink_.put_external(piece);
  }

  template <class T>
  void put_length(std::size_t length) {
    constexpr bool kShort = std::same_as<T, String>;
    constexpr std::size_t kLimit = kShort ? kStringBytesMax : std::numeric_limits<std::int32_t>::max();
    if (length > kLimit) return sink_.fail();
    if (format_.flexible)
      sink_.put_uvarint(length + 1);
    else if constexpr (kShort)
      sink_.put_be(static_cast<std::int16_t>(length));
    else
      sink_.put_be(static_cast<std::int32_t>(length));
  }
  template <class T>
  void put_null() {
    if (format_.flexible)
      sink_.put_uvarint(0);
    else if constexpr (std::same_as<T, String>)
      sink_.put_be(std::int16_t{-1});
    else
      sink_.put_be(std::int32_t{-1});
  }

  Sink& sink_;
  Format format_;
};

}  // namespace esc::wire::engine

namespace esc::wire {

template <class Message>
Decoded<Message> decode(ByteView body, std::int16_t version, Arena& arena) {
  constexpr const ApiInfo& kInfo = api_info(Message::kApi);
  if (!kInfo.supports(version))
    return std::unexpected(DecodeError{Errc::unsupported, "version not supported", 0});
  Reader reader(body);
  engine::Decoder decoder(reader, arena, {version, kInfo.flexible(version)});
  Message message;
  decoder.read_struct(message);
  if (reader.ok() && reader.remaining() > 0)
    reader.fail(Errc::corruption, "bytes after the end of the message");
  if (!reader.ok()) return std::unexpected(reader.error());
  return message;
}

template <class Message>
void encode(Writer& writer, const Message& message, std::int16_t version) {
  constexpr const ApiInfo& kInfo = api_info(Message::kApi);
  // Versions that are advertised but not decoded (Produce 0-2) can be encoded, to carry the refusal.
  if (version < kInfo.min_advertised || version > kInfo.max) return writer.fail();
  engine::Encoder<Writer>(writer, {version, kInfo.flexible(version)}).write_struct(message);
}

}  // namespace esc::wire

#define ESC_WIRE_INSTANTIATE_CODEC(Message)                                                     \
  template Decoded<Message> decode<Message>(ByteView body, std::int16_t version, Arena& arena); \
  template void encode<Message>(Writer & writer, const Message& message, std::int16_t version)
