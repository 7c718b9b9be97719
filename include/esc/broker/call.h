// A piece of work for another core, carried by reference: the object stays where it is, only the right
// to touch it travels. Run on the target's core, returned to the origin, never touched by two cores at once.
#pragma once

#include <cstdint>

#include "esc/base/ids.h"
#include "esc/base/intrusive_list.h"

namespace esc::broker {

class Broker;

struct Call : ListNode<Call> {
  // On the target's core. It answers with Router::reply, at once or later.
  void (*run)(Call&, Broker& target) = nullptr;
  // On the origin's core; the call is the origin's again.
  void (*done)(Call&, Broker& origin) = nullptr;
  CoreId origin;
  CoreId target;
};

// The mesh as the broker sees it. Calls between two cores arrive in the order they were sent. A call to
// the own core runs inside send(), its reply inside reply().
class Router {
 public:
  virtual ~Router() = default;
  virtual void send(Call& call) = 0;   // sets origin; `target` is set by the caller
  virtual void reply(Call& call) = 0;  // on the target's core
  [[nodiscard]] virtual std::uint32_t cores() const = 0;
  [[nodiscard]] virtual CoreId self() const = 0;
};

}  // namespace esc::broker
