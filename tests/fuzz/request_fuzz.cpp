// Any bytes as a request, or as a response, of any API and version: decoding must end cleanly, and what
// decodes must encode, and decode again to the same bytes.
//
// Input: one selector byte, then a frame without its size prefix. Even: a request with its header, as it
// comes from a client. Odd: byte 1 picks the API and byte 2 the version of a response body.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "esc/wire/message.h"
#include "wire/all_messages.h"

namespace esc::wire {
namespace {

std::vector<std::byte> first_block(1 << 20);
std::vector<std::byte> second_block(1 << 20);
std::vector<std::byte> first_output(4 << 20);
std::vector<std::byte> second_output(4 << 20);

void require(bool condition) {
  if (!condition) std::abort();
}

template <class Message>
void decode_and_back(ByteView body, std::int16_t version) {
  Arena arena(first_block);
  const auto message = decode<Message>(body, version, arena);
  if (!message.has_value()) {
    require(message.error().code != Errc::ok && message.error().position <= body.size());
    return;
  }
  Writer writer(first_output);
  encode(writer, *message, version);
  require(!writer.overflowed());
  Arena again_arena(second_block);
  const auto again = decode<Message>(writer.written(), version, again_arena);
  require(again.has_value());
  Writer again_writer(second_output);
  encode(again_writer, *again, version);
  require(again_writer.position() == writer.position());
  require(std::memcmp(first_output.data(), second_output.data(), writer.position()) == 0);
}

void fuzz_request(ByteView frame) {
  const auto request = parse_request(frame);
  if (!request.has_value() || !request->version_supported) return;
  esc::wire::test::for_each_message([&]<class Message>() {
    if constexpr (Message::kIsRequest) {
      if (Message::kApi == request->api->key) decode_and_back<Message>(request->body, request->version);
    }
  });
}

void fuzz_response(ByteView bytes) {
  if (bytes.size() < 2) return;
  const ApiInfo& api = kApis[static_cast<std::size_t>(bytes[0]) % kApis.size()];
  const auto version = static_cast<std::int16_t>(bytes[1]);
  if (!api.supports(version)) return;
  (void)parse_response(bytes.subspan(2), api.key, version);
  esc::wire::test::for_each_message([&]<class Message>() {
    if constexpr (!Message::kIsRequest) {
      if (Message::kApi == api.key) decode_and_back<Message>(bytes.subspan(2), version);
    }
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView bytes(reinterpret_cast<const std::byte*>(data), size);
  if ((data[0] & 1) == 0) {
    fuzz_request(bytes.subspan(1));
  } else {
    fuzz_response(bytes.subspan(1));
  }
  return 0;
}

}  // namespace esc::wire
