#include "esc/base/result.h"

#include <cerrno>

namespace esc {

std::string_view to_string(Errc code) {
  switch (code) {
    case Errc::ok: return "ok";
    case Errc::invalid_argument: return "invalid argument";
    case Errc::not_found: return "not found";
    case Errc::already_exists: return "already exists";
    case Errc::out_of_range: return "out of range";
    case Errc::no_space: return "no space left on device";
    case Errc::io_error: return "input/output error";
    case Errc::corruption: return "corruption";
    case Errc::torn: return "torn write";
    case Errc::unsupported: return "unsupported";
    case Errc::too_large: return "too large";
    case Errc::busy: return "busy";
    case Errc::closed: return "closed";
    case Errc::not_leader: return "not leader";
    case Errc::timeout: return "timeout";
    case Errc::stale_epoch: return "stale producer epoch";
    case Errc::out_of_order: return "out of order sequence number";
  }
  return "unknown error";
}

Errc errc_from_errno(int errno_value) {
  switch (errno_value) {
    case 0: return Errc::ok;
    case ENOSPC:
    case EDQUOT: return Errc::no_space;
    case ENOENT: return Errc::not_found;
    case EEXIST: return Errc::already_exists;
    case EINVAL: return Errc::invalid_argument;
    case EAGAIN: return Errc::busy;
    default: return Errc::io_error;
  }
}

}  // namespace esc
