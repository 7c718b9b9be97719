// The data directory's own identity: locked by one process, stamped with what must not change.
#pragma once

#include <string>

#include "esc/app/config.h"
#include "esc/base/result.h"

namespace esc::app {

struct NodeIdentity {
  std::string cluster_id;            // as clients see it
  std::uint64_t cluster_number = 0;  // its hash, for frames
  std::uint32_t groups = 1;
  bool began_alone = false;  // created by a node without others
};

class DataDirectory {
 public:
  // Creates what is missing, takes the lock, reads or writes `node.toml`. `groups_default` is used
  // for a new directory when the configuration leaves the number open.
  [[nodiscard]] static Result<DataDirectory> open(const Config& config, std::uint32_t groups_default);
  DataDirectory(DataDirectory&& other) noexcept;
  DataDirectory& operator=(DataDirectory&&) = delete;
  ~DataDirectory();

  [[nodiscard]] const NodeIdentity& identity() const { return identity_; }
  // For scripts: the port that the listener got.
  void write_port(std::uint16_t port) const;

 private:
  DataDirectory() = default;
  std::string path_;
  int lock_ = -1;
  NodeIdentity identity_;
};

}  // namespace esc::app
