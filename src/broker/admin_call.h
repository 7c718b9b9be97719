// What clients want changed about topics: one call per request, carried out by the controller of the node
// that leads group 0.
//
// Threading: a Call; the core of group 0 has it from submit_admin_call() until it is replied to. Cold:
// allocates.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "esc/broker/broker.h"
#include "esc/wire/error_code.h"

namespace esc::broker {

// One topic of an admin request.
struct TopicOrder {
  enum class Kind : std::uint8_t { create, remove, add_partitions, configure };
  Kind kind = Kind::create;
  std::string name;
  replica::TopicId id{};         // remove by id when `name` is empty
  std::int32_t partitions = -1;  // create: -1 is the default; add_partitions: the new total
  std::int16_t replication_factor = -1;
  TopicOverrides overrides;           // create: to be set
  std::vector<ConfigChange> changes;  // configure
  bool replaces_all = false;          // configure: what `changes` do not name is back at its default
  std::int8_t resource_type = 2;      // configure: as asked; 2 is a topic
  // The outcome.
  wire::ErrorCode code = wire::ErrorCode::none;
  std::string message;
  bool settled = false;  // it has one: not to be asked of another node again
  bool unnamed = false;  // of another node, which does not know the name either
};

struct AdminCall : Call, ListNode<AdminCall> {
  Request* request = nullptr;
  bool validate_only = false;
  bool automatic = false;  // nobody asked by name: a node that does not lead group 0 passes the wish on
  std::vector<TopicOrder> orders;
  void (*finish)(Broker&, AdminCall&) = nullptr;  // on the origin; the call is deleted afterwards
  // Of the controller.
  std::size_t cursor = 0;
  std::size_t committed = 0;  // orders whose outcome is known
  Index last_index;
  Term term;  // in which the orders are proposed; 0: none yet
  bool carried_out = false;
  // Of the relay, where the call came in: whom it is asked of.
  std::uint64_t tag = 0;
  NodeId asked;                  // 0: nobody now
  std::size_t asked_orders = 0;  // the first of those that have no outcome
  Nanos ask_at = 0;
  Nanos find_until = 0;  // somebody who carries it out
  Nanos deadline = 0;    // of the answer
  // Of the relay, where it is carried out for another node; that one's tag.
  NodeId for_node;
};

// Sends the call to the controller's core; `finish` runs on this core.
void submit_admin_call(Broker& broker, std::unique_ptr<AdminCall> call);

}  // namespace esc::broker
