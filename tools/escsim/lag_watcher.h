// A simulated tool that watches the lag of the consumer group: asks every node in turn where the group
// stands, whoever coordinates it, and again before the last answer has come: what a node finds when it wakes
// from a pause must not be answered with what it knew before.
#pragma once

#include <map>

#include "client.h"

namespace esc::escsim {

class LagWatcher final : public Client {
 public:
  using Client::Client;
  [[nodiscard]] bool quiet() const override;

 private:
  struct Node {
    std::uint32_t unanswered = 0;
    Nanos next = 0;
  };
  Nanos work(Nanos now) override;
  void ask(std::int32_t number, Node& node);

  std::map<std::int32_t, Node> nodes_;
};

}  // namespace esc::escsim
