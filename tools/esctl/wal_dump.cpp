// wal dump.
#include "commands.h"

namespace esc::esctl {

Status wal_dump(const Options&, const WalDumpOptions& dump) {
  return fail(Errc::unsupported,
              "wal dump of " + dump.directory + ": the offline scan is not part of this build");
}

}  // namespace esc::esctl
