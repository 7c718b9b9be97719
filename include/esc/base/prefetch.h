// Asks the processor for a cache line that is wanted soon.
//
// A bare __builtin_prefetch does not count as a side effect: GCC 12 takes a function of nothing else for one
// without any, and drops the calls of it, silently. The empty asm statement is one.
#pragma once

namespace esc {

inline void prefetch(const void* line) {
  __builtin_prefetch(line);
  asm volatile("");
}

}  // namespace esc
