// An operator who takes nodes out of the cluster and back in, at the worst of times. The node's process goes
// on, and comes back with the data it had. In the end every node is there again.
#pragma once

#include <set>

#include "client.h"
#include "esc/wire/api/alter_nodes.h"

namespace esc::escsim {

class NodeOperator final : public Client {
 public:
  using Client::Client;
  [[nodiscard]] bool quiet() const override { return !asking_ && (!stopping() || touched_.empty()); }

 private:
  Nanos work(Nanos now) override;
  void ask(std::int8_t action, std::uint32_t node);
  void answered(std::int8_t action, std::uint32_t node, wire::ErrorCode code);

  bool asking_ = false;
  Nanos next_ = 0;
  std::set<std::uint32_t> out_;       // to be added again: of three nodes one at a time, of five two
  std::set<std::uint32_t> touched_;   // perhaps out
  std::set<std::uint32_t> doubtful_;  // the answer to a removal is not there: it may come true at any time
  std::uint64_t committed_ = 0;       // of group 0, when the last question was asked
  bool known_ = false;                // of the removal that is asked for: none before is doubtful
};

}  // namespace esc::escsim
