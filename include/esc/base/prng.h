// A small deterministic generator (xoshiro256**) with forked streams: each component of a node gets
// its own stream from one seed, so that adding a draw in one does not shift the others.
// Not for secrets.
#pragma once

#include <cstdint>

namespace esc {

class Prng {
 public:
  explicit Prng(std::uint64_t seed);
  [[nodiscard]] std::uint64_t next();
  // Uniform in [0, bound); bound > 0.
  [[nodiscard]] std::uint64_t below(std::uint64_t bound);
  // Uniform in [low, high], both inclusive.
  [[nodiscard]] std::int64_t between(std::int64_t low, std::int64_t high);
  // True with probability numerator/denominator.
  [[nodiscard]] bool chance(std::uint64_t numerator, std::uint64_t denominator);
  // An independent stream; the same (seed, stream) always gives the same one.
  [[nodiscard]] Prng fork(std::uint64_t stream) const;

 private:
  std::uint64_t state_[4];
};

}  // namespace esc
