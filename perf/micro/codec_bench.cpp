// What the protocol costs per request: parsing a produce request, validating its batch, encoding the answers.
#include <benchmark/benchmark.h>

#include <vector>

#include "esc/base/arena.h"
#include "esc/base/assert.h"
#include "esc/wire/api/fetch.h"
#include "esc/wire/api/metadata.h"
#include "esc/wire/api/produce.h"
#include "esc/wire/message.h"
#include "esc/wire/record_batch.h"

namespace esc::wire {
namespace {

constexpr std::size_t kEventBytes = 512;

std::vector<std::byte> make_batch(std::int64_t events) {
  std::vector<std::byte> buffer(kBatchHeaderBytes + static_cast<std::size_t>(events) * (kEventBytes + 32));
  const std::vector<std::byte> value(kEventBytes, std::byte{'x'});
  BatchBuilder builder(buffer);
  for (std::int64_t i = 0; i < events; ++i) {
    const bool fits = builder.append(1'700'000'000'000, std::nullopt, ByteView(value));
    ESC_ASSERT(fits);
  }
  buffer.resize(builder.finish().size());
  return buffer;
}

// Range: partitions in the request, each with a batch of 64 events.
void parse_produce_request(benchmark::State& state) {
  const std::vector<std::byte> batch = make_batch(64);
  std::vector<ProduceRequest::Partition> partitions;
  for (std::int32_t i = 0; i < state.range(0); ++i)
    partitions.push_back({.index = i, .records = ByteView(batch)});
  const ProduceRequest::Topic topics[] = {{.name = "a-topic-of-usual-length", .partition_data = partitions}};
  ProduceRequest request;
  request.acks = -1;
  request.topic_data = topics;
  std::vector<std::byte> buffer(batch.size() * partitions.size() + 65536);
  Writer writer(buffer);
  encode_request(writer, request, 9, 1, "client");
  ESC_ASSERT(!writer.overflowed());
  const ByteView frame = writer.written().subspan(kSizePrefixBytes);
  std::vector<std::byte> memory(1 << 20);
  for (auto _ : state) {
    Arena arena(memory);
    const auto parsed = parse_request(frame);
    benchmark::DoNotOptimize(decode<ProduceRequest>(parsed->body, parsed->version, arena));
  }
}
BENCHMARK(parse_produce_request)->Arg(1)->Arg(8)->Arg(100);

// Range: events in the batch. Everything a leader checks, CRC and every record included.
void validate_batch(benchmark::State& state) {
  const std::vector<std::byte> batch = make_batch(state.range(0));
  for (auto _ : state) {
    benchmark::DoNotOptimize(validate_produce_batch(ByteView(batch), {.now_ms = 1'700'000'000'000}));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(validate_batch)->Arg(1)->Arg(64)->Arg(1000);

void encode_produce_response(benchmark::State& state) {
  std::vector<ProduceResponse::Partition> partitions;
  for (std::int32_t i = 0; i < state.range(0); ++i)
    partitions.push_back({.index = i, .base_offset = 1'000'000 + i});
  const ProduceResponse::Topic topics[] = {
      {.name = "a-topic-of-usual-length", .partition_responses = partitions}};
  ProduceResponse response;
  response.responses = topics;
  std::vector<std::byte> buffer(65536);
  for (auto _ : state) {
    Writer writer(buffer);
    encode_response(writer, response, 9, 1);
    benchmark::DoNotOptimize(writer.written().data());
    benchmark::ClobberMemory();
  }
}
BENCHMARK(encode_produce_response)->Arg(1)->Arg(8)->Arg(100);

// The records stay where they are: splits for a gathered send.
void encode_fetch_response(benchmark::State& state) {
  const std::vector<std::byte> batch = make_batch(64);
  std::vector<FetchResponse::Partition> partitions(static_cast<std::size_t>(state.range(0)));
  for (std::size_t i = 0; i < partitions.size(); ++i) {
    partitions[i].partition_index = static_cast<std::int32_t>(i);
    partitions[i].records.bytes = batch;
  }
  const FetchResponse::Topic topics[] = {{.topic = "a-topic-of-usual-length", .partitions = partitions}};
  FetchResponse response;
  response.responses = topics;
  std::vector<std::byte> buffer(65536);
  std::vector<Split> splits(partitions.size());
  for (auto _ : state) {
    Writer writer(buffer, splits, 512);
    encode_response(writer, response, 12, 1);
    benchmark::DoNotOptimize(writer.total_bytes());
    benchmark::ClobberMemory();
  }
}
BENCHMARK(encode_fetch_response)->Arg(1)->Arg(8)->Arg(100);

void walk_records(benchmark::State& state) {
  const std::vector<std::byte> batch = make_batch(64);
  const auto view = BatchView::parse(batch);
  for (auto _ : state) {
    RecordIterator records(view->payload(), view->record_count());
    while (const auto record = records.next()) benchmark::DoNotOptimize(record->value->data());
  }
  state.SetItemsProcessed(state.iterations() * 64);
}
BENCHMARK(walk_records);

}  // namespace
}  // namespace esc::wire

BENCHMARK_MAIN();
