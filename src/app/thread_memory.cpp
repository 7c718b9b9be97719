#include "thread_memory.h"

#include <cstddef>

// Weak, so that builds with another allocator link.
extern "C" int mallctl(const char* name, void* oldp, std::size_t* oldlenp, void* newp, std::size_t newlen)
    __attribute__((weak));

namespace esc::app {

void use_own_arena() {
  if (mallctl == nullptr) return;
  unsigned arena = 0;
  std::size_t size = sizeof arena;
  if (mallctl("arenas.create", &arena, &size, nullptr, 0) != 0) return;
  mallctl("thread.arena", nullptr, nullptr, &arena, sizeof arena);
}

}  // namespace esc::app
