// JoinGroup, SyncGroup, Heartbeat, LeaveGroup: requests of members, carried to their coordinator.
#include <string>

#include "../connection.h"
#include "../coordinators.h"
#include "../handlers.h"
#include "../respond.h"

namespace esc::broker {
namespace {

// The random part of a member's id: a UUID, version 4.
std::string unique_name(Prng& prng) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string name;
  std::uint64_t random = 0;
  for (std::size_t i = 0; i < 32; ++i, random >>= 4) {
    if (i % 16 == 0) random = prng.next();
    if (i == 8 || i == 12 || i == 16 || i == 20) name += '-';
    const std::size_t digit = i == 12 ? 4 : i == 16 ? 8 + (random & 3) : random & 15;
    name += kDigits[digit];
  }
  return name;
}

std::optional<std::string_view> view(const std::optional<std::string>& text) {
  return text ? std::optional<std::string_view>(*text) : std::nullopt;
}

// As Kafka shows it: "/" and the address without its port.
std::string host_of(const std::string& address) {
  return address.empty() ? std::string() : "/" + address.substr(0, address.rfind(':'));
}

// --- JoinGroup ----------------------------------------------------------------------------------

struct JoinCall final : CoordinatorCall {
  const wire::JoinGroupRequest* asked = nullptr;
  std::int16_t version = 0;
  std::string client_id;
  std::string client_host;
  std::string unique;

  void begin(coord::Coordinator& coordinator, Broker& owner) override {
    const coord::JoinContext context{version, client_id, client_host, unique};
    coordinator.join(token(), *asked, context, owner.env().clock.now());
  }

  void finish(Broker& broker) override {
    const auto members = broker.allocate<wire::JoinGroupResponse::Member>(*request, answer.members.size());
    if (members.data() == nullptr && !answer.members.empty())
      return broker.protocol_error(*request, "no memory for the members of the group");
    for (std::size_t i = 0; i < members.size(); ++i) {
      members[i].member_id = answer.members[i].id;
      members[i].group_instance_id = view(answer.members[i].instance);
      members[i].metadata = answer.members[i].metadata;
    }
    wire::JoinGroupResponse response;
    response.error_code = answer.code;
    response.generation_id = answer.generation;
    response.protocol_type = view(answer.protocol_type);
    response.protocol_name = view(answer.protocol_name);
    response.leader = answer.leader;
    response.skip_assignment = answer.skip_assignment;
    response.member_id = answer.member_id;
    if (answer.code != wire::ErrorCode::none && answer.member_id.empty())
      response.member_id = asked->member_id;
    response.members = members;
    broker.respond(*request, response);
  }
};

// --- SyncGroup
// ------------------------------------------------------------------------------------------------

struct SyncCall final : CoordinatorCall {
  const wire::SyncGroupRequest* asked = nullptr;

  void begin(coord::Coordinator& coordinator, Broker& owner) override {
    coordinator.sync(token(), *asked, owner.env().clock.now());
  }
  void finish(Broker& broker) override {
    wire::SyncGroupResponse response;
    response.error_code = answer.code;
    response.protocol_type = view(answer.protocol_type);
    response.protocol_name = view(answer.protocol_name);
    response.assignment = answer.assignment;
    broker.respond(*request, response);
  }
};

// --- Heartbeat
// ------------------------------------------------------------------------------------------------

struct HeartbeatCall final : CoordinatorCall {
  const wire::HeartbeatRequest* asked = nullptr;

  void begin(coord::Coordinator& coordinator, Broker& owner) override {
    answer.code = coordinator.heartbeat(*asked, owner.env().clock.now());
    owner.coordinators().finish(*this);
  }
  void finish(Broker& broker) override {
    wire::HeartbeatResponse response;
    response.error_code = answer.code;
    broker.respond(*request, response);
  }
};

// --- LeaveGroup
// -----------------------------------------------------------------------------------------------

struct LeaveCall final : CoordinatorCall {
  const wire::LeaveGroupRequest* asked = nullptr;
  std::int16_t version = 0;
  std::vector<wire::ErrorCode> codes;

  void begin(coord::Coordinator& coordinator, Broker& owner) override {
    answer.code = coordinator.leave(*asked, version, codes, owner.env().clock.now());
    owner.coordinators().finish(*this);
  }
  void finish(Broker& broker) override {
    const auto members = broker.allocate<wire::LeaveGroupResponse::Member>(*request, codes.size());
    if (members.data() == nullptr && !codes.empty())
      return broker.protocol_error(*request, "no memory for the members that leave");
    for (std::size_t i = 0; i < members.size(); ++i) {
      members[i].member_id = asked->members[i].member_id;
      members[i].group_instance_id = asked->members[i].group_instance_id;
      members[i].error_code = codes[i];
    }
    wire::LeaveGroupResponse response;
    response.error_code = answer.code;
    response.members = members;
    broker.respond(*request, response);
  }
};

// A call for the decoded request; null: it was refused.
template <class CallType, class Message>
std::unique_ptr<CallType> make_call(Broker& broker, Request& request) {
  if (!broker.detach_frame(request)) return nullptr;
  const auto* asked = broker.decode<Message>(request);
  if (asked == nullptr) return nullptr;
  auto call = std::make_unique<CallType>();
  call->request = &request;
  call->asked = asked;
  return call;
}

template <class CallType>
void submit(Broker& broker, std::unique_ptr<CallType> call) {
  const std::string_view group = call->asked->group_id;
  submit_coordinator_call(broker, group, std::move(call));
}

}  // namespace

void handle_join_group(Broker& broker, Request& request) {
  auto call = make_call<JoinCall, wire::JoinGroupRequest>(broker, request);
  if (call == nullptr) return;
  call->version = request.header.version;
  call->client_id = request.header.client_id.value_or("");
  if (request.connection != nullptr) call->client_host = host_of(request.connection->address());
  call->unique = unique_name(broker.env().prng);
  submit(broker, std::move(call));
}

void handle_sync_group(Broker& broker, Request& request) {
  auto call = make_call<SyncCall, wire::SyncGroupRequest>(broker, request);
  if (call != nullptr) submit(broker, std::move(call));
}

void handle_heartbeat(Broker& broker, Request& request) {
  auto call = make_call<HeartbeatCall, wire::HeartbeatRequest>(broker, request);
  if (call != nullptr) submit(broker, std::move(call));
}

void handle_leave_group(Broker& broker, Request& request) {
  auto call = make_call<LeaveCall, wire::LeaveGroupRequest>(broker, request);
  if (call == nullptr) return;
  call->version = request.header.version;
  submit(broker, std::move(call));
}

}  // namespace esc::broker
