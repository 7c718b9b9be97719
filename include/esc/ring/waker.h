// How the mesh wakes a sleeping core. The mesh cannot know the event loop (io is a floor above), so
// the composition root hands it one of these.
#pragma once

#include "esc/base/ids.h"

namespace esc::ring {

class Waker {
 public:
  virtual ~Waker() = default;
  // Called on the thread of `from`; ends the sleep of `target` soon. A wake of a core that is awake
  // is harmless. Never blocks.
  virtual void wake(CoreId from, CoreId target) = 0;
};

}  // namespace esc::ring
