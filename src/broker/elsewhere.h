// Clients that look for leaders at a node that knows none are helped to ask another.
//
// A client asks whichever node it is connected to, and stock clients connect to no other while that one
// answers: one that knows only a node which is cut off from its peers would wait there until its messages
// expire, while the others have leaders. So who asks again, kLeaderPatience after it first asked in vain,
// gets the answer and then the end of its connection: clients take that for a reason to try the next node.
//
// A node that knows the leader of any group is not cut off, and ends no connection: it may be serving on it.
//
// Threading: the connection's core.
#pragma once

#include "esc/base/units.h"
#include "esc/broker/request.h"

namespace esc::broker {

class Broker;

// Longer than elections take, which end wherever one asks.
inline constexpr Nanos kLeaderPatience = kSecond;

// The request asks where leaders are. To be called before it is answered.
void note_search_for_leaders(Broker& broker, Request& request);

}  // namespace esc::broker
