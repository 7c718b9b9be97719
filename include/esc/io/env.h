// The outside world of a core, handed down explicitly. The simulator provides its own.
#pragma once

#include "esc/base/prng.h"
#include "esc/io/clock.h"
#include "esc/io/disk.h"
#include "esc/io/net.h"

namespace esc::io {

struct Env {
  Disk& disk;
  Files& files;
  Net& net;
  Clock& clock;
  Prng& prng;
};

}  // namespace esc::io
