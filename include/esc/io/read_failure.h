// What a failed read says: that these bytes are lost on the device, which is damage like a wrong checksum and
// is healed in the same way, or that something else went wrong. Only for reads: a failed write or sync is
// final.
//
// Source: Linux blk-core.c (blk_status to errno): a medium error is ENODATA, EIO once it has passed the page
// cache; protection information that does not match is EILSEQ. File systems say EBADMSG and EUCLEAN for
// checksums of their own.
#pragma once

#include <cerrno>

#include "esc/base/result.h"

namespace esc::io {

[[nodiscard]] inline Errc read_failure(int os_error) {
  switch (os_error) {
    case EIO:
    case ENODATA:
    case EILSEQ:
    case EBADMSG:
    case EUCLEAN: return Errc::corruption;
    default: return Errc::io_error;
  }
}

}  // namespace esc::io
