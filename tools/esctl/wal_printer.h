// Prints a scan of write-ahead logs while it runs, so that memory does not grow with the log.
#pragma once

#include <memory>
#include <string>

#include "commands.h"
#include "esc/wal/dump.h"
#include "wal_verdict.h"

namespace esc::esctl {

// What is known about one log before its files are read.
struct WalDirectory {
  std::string path;
  std::uint32_t group = 0;
  std::uint32_t node = 0;
  std::uint64_t cluster_id = 0;
  bool identified = false;  // false: no segment header could be read
};

class WalPrinter : public wal::DumpVisitor {
 public:
  virtual void begin_group(const WalDirectory& directory) = 0;
  virtual void end_group(const WalVerdict& verdict) = 0;
  virtual void finish() = 0;
};

// `entries`: also print every entry.
[[nodiscard]] std::unique_ptr<WalPrinter> make_wal_printer(Output output, bool entries);

}  // namespace esc::esctl
