// One client request from its first byte to the last byte of its answer. Pooled; belongs to one connection.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "esc/base/arena.h"
#include "esc/base/bytes.h"
#include "esc/base/fixed_vector.h"
#include "esc/base/intrusive_list.h"
#include "esc/broker/buffer_pool.h"
#include "esc/io/clock.h"
#include "esc/io/net.h"
#include "esc/wire/message.h"

namespace esc::broker {

class Broker;
class Connection;

struct Request : ListNode<Request> {
  static constexpr std::size_t kPiecesInline = 8;
  static constexpr std::size_t kDataBuffersMax = 72;

  Broker* broker = nullptr;
  Connection* connection = nullptr;  // null once the connection is gone: finish quietly
  wire::Request header;              // views into the frame
  ByteView frame;                    // the request's bytes, without the size prefix
  std::uint32_t frame_bytes = 0;     // its size, also after release_frame
  io::ReceiveLoan loan;              // the frame lies in a receive buffer...
  ByteSpan assembled;                // ...or was put together in a pool buffer
  ByteSpan scratch;                  // pool buffer behind `arena`
  Arena arena{{}};
  Nanos started = 0;
  io::Timer timer;

  // The answer: views into `scratch`, `output` or `data`. In order, sent as one gathered write.
  std::span<const struct iovec> response;
  std::uint64_t response_bytes = 0;
  ByteSpan output;  // buffer of the encoded response, and the pool it is from
  BufferPool* output_pool = nullptr;
  FixedVector<ByteSpan, 12> extra;              // more request memory of the handler
  FixedVector<ByteSpan, kDataBuffersMax> data;  // response memory: fetched records, gather lists
  struct iovec pieces[kPiecesInline];
  // Set while the request waits to be the oldest unanswered one of its connection.
  void (*when_first)(Broker&, Request&) = nullptr;
  bool complete = false;     // the answer (or its absence) is final
  bool respond = true;       // acks=0 has no answer
  bool close_after = false;  // the connection ends after this answer
  void* state = nullptr;     // of the handler, in `arena`
};

}  // namespace esc::broker
