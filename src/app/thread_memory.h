// One jemalloc arena per data core, so that its cold allocations never contend or share pages with others.
#pragma once

namespace esc::app {

// Called once at the start of each data core's thread. No-op when jemalloc is not the allocator (sanitizers).
void use_own_arena();

}  // namespace esc::app
