// The module is templates; this file compiles them once, alone, with every warning on.
#include "esc/ring/mesh.h"
#include "esc/ring/mpsc_ring.h"
#include "esc/ring/sleep_gate.h"
#include "esc/ring/spsc_ring.h"

namespace esc::ring {

static_assert(alignof(SleepGate) == kCacheLineBytes);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

template class SpscRing<std::uint64_t>;
template class MpscRing<std::uint64_t>;
template class Mesh<std::uint64_t>;

}  // namespace esc::ring
