// The codecs against bytes made by another implementation from Kafka's message definitions.
#include "golden_file.h"

#include <gtest/gtest.h>

#include <set>

#include "all_messages.h"
#include "esc/wire/codec.h"
#include "printer.h"

namespace esc::wire::test {
namespace {

std::vector<std::byte> arena_block(1 << 20);

template <class Message>
std::vector<Golden> goldens_of() {
  std::vector<Golden> mine;
  for (Golden& golden : load_goldens(std::string(api_info(Message::kApi).name))) {
    if (golden.message == message_name<Message>()) mine.push_back(std::move(golden));
  }
  return mine;
}

TEST(Golden, covers_every_version_of_every_message) {
  for_each_message([]<class Message>() {
    std::set<std::int16_t> versions;
    for (const Golden& golden : goldens_of<Message>()) versions.insert(golden.version);
    const ApiInfo& api = api_info(Message::kApi);
    for (std::int16_t version = api.min; version <= api.max; ++version) {
      EXPECT_TRUE(versions.contains(version)) << message_name<Message>() << " v" << version;
    }
  });
}

TEST(Golden, decodes_to_the_values_it_was_made_of) {
  for_each_message([]<class Message>() {
    for (const Golden& golden : goldens_of<Message>()) {
      Arena arena(arena_block);
      const auto message = decode<Message>(golden.bytes, golden.version, arena);
      ASSERT_TRUE(message.has_value())
          << golden.name() << ": " << message.error().reason << " at " << message.error().position;
      EXPECT_EQ(print_struct(*message, golden.version), golden.text) << golden.name();
    }
  });
}

TEST(Golden, encodes_back_to_the_same_bytes) {
  for_each_message([]<class Message>() {
    for (const Golden& golden : goldens_of<Message>()) {
      Arena arena(arena_block);
      const auto message = decode<Message>(golden.bytes, golden.version, arena);
      ASSERT_TRUE(message.has_value()) << golden.name();
      std::vector<std::byte> out(golden.bytes.size());
      Writer writer(out);
      encode(writer, *message, golden.version);
      EXPECT_FALSE(writer.overflowed()) << golden.name();
      EXPECT_EQ(print_hex(writer.written()), print_hex(golden.bytes)) << golden.name();
    }
  });
}

TEST(Golden, every_truncation_is_refused) {
  for_each_message([]<class Message>() {
    for (const Golden& golden : goldens_of<Message>()) {
      for (std::size_t bytes = 0; bytes < golden.bytes.size(); ++bytes) {
        // A copy of exact size, so that the sanitizer sees any read past the end.
        const std::vector<std::byte> cut(golden.bytes.begin(),
                                         golden.bytes.begin() + static_cast<long>(bytes));
        Arena arena(arena_block);
        const auto message = decode<Message>(cut, golden.version, arena);
        ASSERT_FALSE(message.has_value()) << golden.name() << " cut to " << bytes;
        EXPECT_LE(message.error().position, bytes);
      }
    }
  });
}

TEST(Golden, a_byte_too_many_is_refused) {
  for_each_message([]<class Message>() {
    for (Golden& golden : goldens_of<Message>()) {
      golden.bytes.push_back(std::byte{0});
      Arena arena(arena_block);
      EXPECT_FALSE(decode<Message>(golden.bytes, golden.version, arena).has_value()) << golden.name();
    }
  });
}

TEST(Golden, a_buffer_one_byte_short_overflows_cleanly) {
  for_each_message([]<class Message>() {
    for (const Golden& golden : goldens_of<Message>()) {
      if (golden.bytes.empty()) continue;
      Arena arena(arena_block);
      const auto message = decode<Message>(golden.bytes, golden.version, arena);
      ASSERT_TRUE(message.has_value()) << golden.name();
      std::vector<std::byte> out(golden.bytes.size() - 1);
      Writer writer(out);
      encode(writer, *message, golden.version);
      EXPECT_TRUE(writer.overflowed()) << golden.name();
    }
  });
}

TEST(Golden, flipped_bytes_never_decode_to_something_that_cannot_be_encoded) {
  for_each_message([]<class Message>() {
    for (const Golden& golden : goldens_of<Message>()) {
      for (std::size_t i = 0; i < golden.bytes.size(); ++i) {
        std::vector<std::byte> bytes = golden.bytes;
        bytes[i] ^= std::byte{0xff};
        Arena arena(arena_block);
        const auto message = decode<Message>(bytes, golden.version, arena);
        if (!message.has_value()) continue;
        // Unknown tags and non-canonical varints shrink, nothing grows.
        std::vector<std::byte> out(bytes.size());
        Writer writer(out);
        encode(writer, *message, golden.version);
        EXPECT_FALSE(writer.overflowed()) << golden.name() << " byte " << i;
      }
    }
  });
}

}  // namespace
}  // namespace esc::wire::test
