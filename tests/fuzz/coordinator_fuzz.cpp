// Arbitrary bytes as what the consumer groups' coordinator reads: commands of the log and saved state.
// Decoding reads nothing outside; what is accepted as a command can be applied; what is accepted as state
// saves to the same state again, and still does after commands.
//
// Input: one byte of flags (1: begins with saved state), then blocks, each with a u16 length (little-endian):
// the state, if announced, and commands.
#include <cstdlib>
#include <cstring>

#include "esc/coord/state.h"

namespace esc::coord {
namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

// The next block; what is left when its length says more.
ByteView next_block(ByteView& rest) {
  if (rest.size() < 2) return std::exchange(rest, {});
  const std::size_t bytes = std::min<std::size_t>(load_le<std::uint16_t>(rest.data()), rest.size() - 2);
  const ByteView block = rest.subspan(2, bytes);
  rest = rest.subspan(2 + bytes);
  return block;
}

void round_trip(const State& state) {
  std::vector<std::byte> saved;
  state.save(saved);
  State again;
  require(again.load(saved).has_value());
  std::vector<std::byte> twice;
  again.save(twice);
  require(saved == twice);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  ByteView rest(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  State state;
  if ((data[0] & 1) != 0 && state.load(next_block(rest))) round_trip(state);
  std::uint64_t index = state.applied().value();
  while (!rest.empty() && index < UINT64_MAX - 1) {
    const ByteView command = next_block(rest);
    (void)describe_command(command);
    if (!valid_command(command)) continue;
    ++index;
    state.apply(Index(index), static_cast<WallMs>(index % 1000), command);
    require(state.applied() == Index(index));
  }
  round_trip(state);
  return 0;
}

}  // namespace esc::coord
