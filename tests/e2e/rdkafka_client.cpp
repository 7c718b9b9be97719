// A stock librdkafka C++ client driven by the end-to-end tests.
//
//   rdkafka_client produce BROKERS TOPIC CODEC ACKS          records on standard input, one a line
//   rdkafka_client consume BROKERS TOPIC PARTITION OFFSET COUNT TIMEOUT_MS
//
// OFFSET is a number, "beginning", or "@MS" (the first record at or after that time). The line format is that
// of tests/e2e/harness/records.py: partition TAB timestamp TAB key TAB value TAB headers; consumed lines and
// acknowledgements start with the offset.

#include <librdkafka/rdkafkacpp.h>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Bytes = std::optional<std::string>;

[[noreturn]] void fail(const std::string& message) {
  std::cerr << "rdkafka_client: " << message << "\n";
  std::exit(1);
}

int nibble(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  fail(std::string("not a hex digit: ") + c);
}

Bytes decode(std::string_view text) {
  if (text == "-") return std::nullopt;
  std::string bytes;
  for (std::size_t i = 1; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<char>(nibble(text[i]) * 16 + nibble(text[i + 1])));
  }
  return bytes;
}

std::string encode(const void* data, std::size_t size) {
  if (data == nullptr) return "-";
  static constexpr char kDigits[] = "0123456789abcdef";
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::string text = "x";
  for (std::size_t i = 0; i < size; ++i) {
    text.push_back(kDigits[bytes[i] >> 4]);
    text.push_back(kDigits[bytes[i] & 15]);
  }
  return text;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

void set(RdKafka::Conf& conf, const std::string& name, const std::string& value) {
  std::string error;
  if (conf.set(name, value, error) != RdKafka::Conf::CONF_OK) fail(name + ": " + error);
}

// Prints one line for each acknowledged record and counts those that failed.
class Reports : public RdKafka::DeliveryReportCb {
 public:
  void dr_cb(RdKafka::Message& message) override {
    if (message.err() != RdKafka::ERR_NO_ERROR) {
      std::cerr << "delivery failed: " << message.errstr() << "\n";
      ++failed;
      return;
    }
    std::cout << message.offset() << "\t" << message.partition() << "\n";
  }
  int failed = 0;
};

void send(RdKafka::Producer& producer, const std::string& topic, const std::string& line) {
  const auto fields = split(line, '\t');
  if (fields.size() < 4) fail("malformed record line: " + line);
  const Bytes key = decode(fields[2]);
  const Bytes value = decode(fields[3]);
  auto headers = std::unique_ptr<RdKafka::Headers>(RdKafka::Headers::create());
  for (const auto& header : split(fields.size() > 4 ? fields[4] : "", ',')) {
    const auto colon = header.find(':');
    const Bytes bytes = decode(header.substr(colon + 1));
    headers->add(header.substr(0, colon), bytes ? bytes->data() : nullptr, bytes ? bytes->size() : 0);
  }
  const int64_t timestamp_ms = fields[1] == "-" ? 0 : std::stoll(fields[1]);
  while (true) {
    const auto error = producer.produce(topic, std::stoi(fields[0]), RdKafka::Producer::RK_MSG_COPY,
                                        value ? const_cast<char*>(value->data()) : nullptr,
                                        value ? value->size() : 0, key ? key->data() : nullptr,
                                        key ? key->size() : 0, timestamp_ms, headers.get(), nullptr);
    if (error == RdKafka::ERR_NO_ERROR) break;
    if (error != RdKafka::ERR__QUEUE_FULL) fail("produce: " + RdKafka::err2str(error));
    producer.poll(100);
  }
  (void)headers.release();  // the library owns them once produce() has succeeded
  producer.poll(0);
}

int produce(const std::vector<std::string>& args) {
  auto conf = std::unique_ptr<RdKafka::Conf>(RdKafka::Conf::create(RdKafka::Conf::CONF_GLOBAL));
  Reports reports;
  std::string error;
  set(*conf, "bootstrap.servers", args[0]);
  set(*conf, "compression.codec", args[2]);
  set(*conf, "acks", args[3]);
  set(*conf, "linger.ms", "5");
  set(*conf, "message.timeout.ms", "20000");
  if (conf->set("dr_cb", &reports, error) != RdKafka::Conf::CONF_OK) fail(error);
  auto producer = std::unique_ptr<RdKafka::Producer>(RdKafka::Producer::create(conf.get(), error));
  if (!producer) fail(error);
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty()) send(*producer, args[1], line);
  }
  if (producer->flush(30000) != RdKafka::ERR_NO_ERROR) fail("flush timed out");
  return reports.failed == 0 ? 0 : 1;
}

int64_t start_offset(RdKafka::KafkaConsumer& consumer, const std::string& topic, int partition,
                     const std::string& text) {
  if (text == "beginning") return RdKafka::Topic::OFFSET_BEGINNING;
  if (text.front() != '@') return std::stoll(text);
  auto position = std::unique_ptr<RdKafka::TopicPartition>(
      RdKafka::TopicPartition::create(topic, partition, std::stoll(text.substr(1))));
  std::vector<RdKafka::TopicPartition*> positions{position.get()};
  const auto error = consumer.offsetsForTimes(positions, 10000);
  if (error != RdKafka::ERR_NO_ERROR) fail("offsetsForTimes: " + RdKafka::err2str(error));
  return position->offset();
}

void print(RdKafka::Message& message) {
  std::cout << message.offset() << "\t" << message.partition() << "\t" << message.timestamp().timestamp
            << "\t" << encode(message.key_pointer(), message.key_len()) << "\t"
            << encode(message.payload(), message.len()) << "\t";
  bool first = true;
  if (auto* headers = message.headers(); headers != nullptr) {
    for (const auto& header : headers->get_all()) {
      std::cout << (first ? "" : ",") << header.key() << ":" << encode(header.value(), header.value_size());
      first = false;
    }
  }
  std::cout << "\n";
}

int consume(const std::vector<std::string>& args) {
  if (args.size() < 6) fail("consume needs BROKERS TOPIC PARTITION OFFSET COUNT TIMEOUT_MS");
  auto conf = std::unique_ptr<RdKafka::Conf>(RdKafka::Conf::create(RdKafka::Conf::CONF_GLOBAL));
  std::string error;
  set(*conf, "bootstrap.servers", args[0]);
  set(*conf, "group.id", "rdkafka-e2e");  // required by the class; assign() never joins the group
  set(*conf, "enable.auto.commit", "false");
  set(*conf, "check.crcs", "true");
  auto consumer = std::unique_ptr<RdKafka::KafkaConsumer>(RdKafka::KafkaConsumer::create(conf.get(), error));
  if (!consumer) fail(error);
  const int partition = std::stoi(args[2]);
  auto position = std::unique_ptr<RdKafka::TopicPartition>(RdKafka::TopicPartition::create(
      args[1], partition, start_offset(*consumer, args[1], partition, args[3])));
  consumer->assign({position.get()});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(std::stoll(args[5]));
  int64_t wanted = std::stoll(args[4]);
  while (wanted > 0 && std::chrono::steady_clock::now() < deadline) {
    auto message = std::unique_ptr<RdKafka::Message>(consumer->consume(100));
    if (message->err() == RdKafka::ERR__TIMED_OUT) continue;
    if (message->err() != RdKafka::ERR_NO_ERROR) fail("consume: " + message->errstr());
    print(*message);
    --wanted;
  }
  consumer->close();
  return wanted == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.size() >= 5 && args[0] == "produce") return produce({args.begin() + 1, args.end()});
  if (args.size() >= 5 && args[0] == "consume") return consume({args.begin() + 1, args.end()});
  std::cerr << "usage: rdkafka_client produce|consume BROKERS TOPIC ...\n";
  return 2;
}
