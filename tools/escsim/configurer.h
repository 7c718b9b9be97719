// Somebody who changes the rules by which the topic's segments end, while it is in use: size, and time. What
// was answered last holds on every node in the end.
#pragma once

#include "client.h"
#include "esc/store/partition_log.h"

namespace esc::escsim {

class Configurer final : public Client {
 public:
  using Client::Client;
  // Stopped, and the last change is answered.
  [[nodiscard]] bool quiet() const override { return settled_; }
  // The partition follows the rules that were answered last, if it is one of the topic.
  [[nodiscard]] bool holds(const replica::Partition& partition) const;

 private:
  Nanos work(Nanos now) override;
  void ask();
  void answered(const store::RollRules& rules, bool last, wire::ErrorCode code);

  bool asking_ = false;
  bool settled_ = false;
  Nanos next_ = 0;
  Nanos lost_at_ = 0;  // the answer to a change: it may come true later
  store::RollRules rules_;
};

}  // namespace esc::escsim
