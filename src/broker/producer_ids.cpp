#include "producer_ids.h"

#include "esc/base/byte_codec.h"
#include "esc/broker/lifecycle.h"

namespace esc::broker {
namespace {

constexpr Nanos kPatience = kSecond;
constexpr Nanos kAskAgainAfter = 50 * kMillisecond;

}  // namespace

void ProducerIds::enqueue(ProducerIdCall& call) {
  const Nanos now = broker_.env().clock.now();
  call.tag = ++last_tag_;
  call.deadline = now + kPatience;
  if (advance(call, now)) return broker_.router().reply(call);
  waiting_.push_back(call);
}

std::uint32_t ProducerIds::do_work(Nanos now) {
  std::uint32_t work = 0;
  IntrusiveList<Call> still;
  while (!waiting_.empty()) {
    auto& call = static_cast<ProducerIdCall&>(waiting_.pop_front());
    if (advance(call, now)) {
      broker_.router().reply(call);
      ++work;
    } else {
      still.push_back(call);
    }
  }
  while (!still.empty()) waiting_.push_back(still.pop_front());
  return work;
}

// True when the call has its outcome. Whatever is wrong passes: clients come again after this error.
bool ProducerIds::advance(ProducerIdCall& call, Nanos now) {
  if (call.id >= 0) return true;
  const auto id = broker_.group(call.group)->take_producer_id();
  if (id) {
    call.id = *id;
    return true;
  }
  const bool hopeless = id.error() != Errc::busy && id.error() != Errc::not_leader;
  if (hopeless || now >= call.deadline || broker_.shutting_down()) {
    call.code = wire::ErrorCode::coordinator_load_in_progress;
    return true;
  }
  if (id.error() == Errc::not_leader) ask_leader(call, now);
  return false;
}

void ProducerIds::ask_leader(ProducerIdCall& call, Nanos now) {
  replica::Group& group = *broker_.group(call.group);
  const NodeId leader = group.leader();
  if (now < call.ask_again_at || leader == NodeId(0) || leader == broker_.options().node) return;
  static_cast<void>(group.send_service(leader, {.kind = kServiceProducerIdRequest, .tag = call.tag}, {}));
  call.ask_again_at = now + kAskAgainAfter;
}

void ProducerIds::on_service(GroupId group, NodeId from, peer::Service service, ByteView payload) {
  if (service.kind == kServiceProducerIdRequest) {
    const auto id = broker_.group(group)->take_producer_id();
    if (!id) return;  // a block is on its way, or another node leads: it asks again
    std::vector<std::byte> answer;
    ByteWriter(answer).number(*id);
    static_cast<void>(
        broker_.group(group)->send_service(from, {.kind = kServiceProducerId, .tag = service.tag}, answer));
    return;
  }
  ByteReader reader(payload);
  const auto id = reader.number<std::int64_t>();
  if (service.kind != kServiceProducerId || !reader.at_end() || id < 0) return;
  waiting_.for_each([&](Call& waiting) {
    auto& call = static_cast<ProducerIdCall&>(waiting);
    if (call.group == group && call.tag == service.tag) call.id = id;
  });
}

}  // namespace esc::broker
