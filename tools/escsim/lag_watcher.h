// A simulated tool that watches the lag of the consumer group: asks every node in turn where the group
// stands, without asking who coordinates it. Of nodes that were deposed and do not know it yet, too.
#pragma once

#include <map>

#include "client.h"

namespace esc::escsim {

class LagWatcher final : public Client {
 public:
  using Client::Client;
  [[nodiscard]] bool quiet() const override { return unanswered_ == 0; }

 private:
  struct Node {
    bool asked = false;
    Nanos next = 0;
  };
  Nanos work(Nanos now) override;
  void ask(std::int32_t number, Node& node);

  std::map<std::int32_t, Node> nodes_;
  std::uint32_t unanswered_ = 0;
};

}  // namespace esc::escsim
