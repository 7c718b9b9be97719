// Units of time and size. Time inside the engine is signed 64-bit nanoseconds of a monotonic clock
// (`Nanos`); Kafka timestamps are signed 64-bit milliseconds since the epoch (`WallMs`).
#pragma once

#include <cstdint>

namespace esc {

using Nanos = std::int64_t;
using WallMs = std::int64_t;

inline constexpr Nanos kMicrosecond = 1'000;
inline constexpr Nanos kMillisecond = 1'000'000;
inline constexpr Nanos kSecond = 1'000'000'000;

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;

// The unit of every O_DIRECT write and of frame padding. Devices with a larger physical block are
// refused at startup with a message (statx DIOALIGN).
inline constexpr std::uint32_t kBlockBytes = 4096;

}  // namespace esc
