// Arbitrary bytes as what a peer says: handshake blocks and message headers. Decoding reads nothing outside,
// and what it accepts says exactly one thing: encoding it again gives the same bytes. Checksums are repaired
// first for half of the inputs, or the fuzzer would never get past them.
//
// Input: one byte of flags (1: repair the checksum), then the block; its magic says what it is taken for.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <variant>

#include "esc/base/crc32c.h"
#include "esc/peer/codec.h"
#include "esc/peer/handshake.h"

namespace esc::peer {
namespace {

constexpr std::uint32_t kPayloadMax = 1 << 20;

void require(bool condition) {
  if (!condition) std::abort();
}

template <std::size_t N>
std::array<std::byte, N> block_of(const std::uint8_t* data, std::size_t size, bool repair) {
  std::array<std::byte, N> block{};
  std::memcpy(block.data(), data, std::min(size, N));
  if (repair) store_le(block.data() + 4, crc32c(ByteView(block).subspan(8)));
  return block;
}

template <std::size_t N, class Decode>
void try_block(const std::uint8_t* data, std::size_t size, bool repair, Decode decode_block) {
  const std::array<std::byte, N> block = block_of<N>(data, size, repair);
  const auto decoded = decode_block(block);
  if (!decoded) return;
  std::array<std::byte, N> again;
  encode(*decoded, again);
  require(again == block);
}

void try_message(const std::uint8_t* data, std::size_t size, bool repair) {
  const auto block = block_of<kHeaderBytes>(data, size, repair);
  const auto header = decode(block, kPayloadMax);
  if (!header) return require(!header.error().empty());
  require(header->payload.bytes <= kPayloadMax);
  std::array<std::byte, kHeaderBytes> again;
  std::visit([&](const auto& message) { encode(header->route, message, header->payload, again); },
             header->message);
  require(again == block);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1 || size > 1 + kHeaderBytes) return 0;
  const bool repair = (data[0] & 1) != 0;
  ++data;
  --size;
  try_message(data, size, repair);
  try_block<kHelloBytes>(data, size, repair, decode_hello);
  try_block<kChallengeBytes>(data, size, repair, decode_challenge);
  try_block<kConfirmBytes>(data, size, repair, decode_confirm);
  return 0;
}

}  // namespace esc::peer
