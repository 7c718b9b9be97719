"""Stock clients: each produces and consumes with every codec, and finds its own and the others' records."""

import os
import shutil
import subprocess
import time

from harness import records as rec
from harness.cases import Skip, check, check_equal, test
from harness.protocol import RawClient
from harness.records import CODECS, Record

BASE_TIME = 1_700_000_000_000


def sample_records(codec, count=60):
    """Keyed and unkeyed, null and empty values, headers, many sizes; two partitions in turn."""
    out = []
    for i in range(count):
        key = None if i % 5 == 0 else f"key-{i % 7}".encode()
        value = f"{codec}-{i:05d}-".encode() + b"abc" * (i * 7 % 400)
        if i % 11 == 3:
            value = b""
        if i % 11 == 7 and key is not None:
            value = None  # a tombstone
        headers = [("trace", f"t{i}".encode()), ("empty", b"")] if i % 3 == 0 else []
        out.append(Record(key, value, headers, BASE_TIME + i * 1000, partition=i % 2))
    out.append(Record(b"big", os.urandom(500).hex().encode() * 600, [], BASE_TIME + count * 1000, partition=0))  # 600 kB
    return out


def of_partition(sent, partition):
    return [r for r in sent if r.partition == partition]


def check_received(sent, got, who, times=True):
    check_equal(len(got), len(sent), f"{who}: number of records")
    for i, (a, b) in enumerate(zip(sent, got)):
        if not a.same_content(b):
            raise AssertionError(f"{who}: record {i} differs: sent {str(a)[:200]}, got {str(b)[:200]}")
        if times:
            check_equal(b.timestamp, a.timestamp, f"{who}: timestamp of record {i}")
    offsets = [r.offset for r in got]
    check_equal(offsets, list(range(offsets[0], offsets[0] + len(offsets))), f"{who}: offsets")


def new_topic(server, name, partitions=2, configs=None):
    with RawClient(server.port) as client:
        answer = client.create_topic(name, partitions, configs)
        check_equal(answer["error_code"], 0, f"creating {name} ({answer.get('error_message')})")


def read_raw(server, topic, partition, count, start=0, timeout=20):
    """All records of a partition through the raw client, whose decoder checks every checksum."""
    got, deadline = [], time.monotonic() + timeout
    with RawClient(server.port, 20) as client:
        while len(got) < count and time.monotonic() < deadline:
            answer = client.fetch(topic, partition, start + len(got), partition_max_bytes=4 << 20, max_bytes=8 << 20)
            check_equal(answer["error_code"], 0, f"fetching {topic}-{partition} at {start + len(got)}")
            got += [r for r in rec.read_batches(answer["records"]) if r.offset >= start + len(got)]
    return got


def each_codec(context, produce, consume, who, times=True):
    """produce(topic, codec, records) and consume(topic, partition, count) -> records of one client."""
    server = context.servers[0]
    for codec in CODECS:
        topic = f"{who}-{codec}"
        new_topic(server, topic)
        sent = sample_records(codec)
        if who == "kcat":
            sent = [r for r in sent if r.value and not r.headers]
        produce(topic, codec, sent)
        for partition in (0, 1):
            mine = of_partition(sent, partition)
            raw = read_raw(server, topic, partition, len(mine))
            check_received(mine, raw, f"{who} produced with {codec}", times)
            check_received(mine, consume(topic, partition, len(mine)), f"{who} consumed {codec}", times)
        check_codec(server, topic, codec)


def check_codec(server, topic, codec):
    """The client really compressed, and the server kept it compressed."""
    with RawClient(server.port) as client:
        answer = client.fetch(topic, 0, 0)
        used = {header[5] & 7 for header, _, _ in rec.batch_headers(answer["records"])}
        # Clients may send an incompressible batch as it is.
        check(CODECS.index(codec) in used, f"{topic}: no batch with codec {codec}, only {used}")


# ---- kcat

def kcat(*args, input_bytes=None, timeout=30):
    if shutil.which("kcat") is None:
        raise Skip("kcat is not installed")
    done = subprocess.run(["kcat", *args], input=input_bytes, capture_output=True, timeout=timeout)
    check_equal(done.returncode, 0, f"kcat {' '.join(args)}: {done.stderr.decode(errors='replace')[-400:]}")
    return done.stdout


@test(timeout=90)
def kcat_produces_and_consumes_with_each_codec(context):
    server = context.start()

    def produce(topic, codec, sent):
        for partition in (0, 1):
            text = b"".join((r.key or b"") + b"\x01" + r.value + b"\x02" for r in of_partition(sent, partition))
            kcat("-P", "-b", server.bootstrap, "-t", topic, "-p", str(partition), "-z", codec, "-K", "\x01",
                 "-D", "\x02", "-X", "message.max.bytes=1000000", "-Z", input_bytes=text)

    def consume(topic, partition, count):
        out = kcat("-C", "-b", server.bootstrap, "-t", topic, "-p", str(partition), "-o", "beginning", "-e", "-q",
                   "-f", "%o\x03%T\x03%K\x03%k\x03%s\x02")
        got = []
        for part in out.split(b"\x02")[:-1]:
            offset, stamp, key_size, key, value = part.split(b"\x03")
            got.append(Record(None if int(key_size) < 0 else key, value, [], int(stamp), int(offset)))
        return got

    each_codec(context, produce, consume, "kcat", times=False)


@test()
def kcat_finds_records_by_time_and_lists_metadata(context):
    server = context.start()
    new_topic(server, "times", 1)
    with RawClient(server.port) as client:
        for i in range(10):
            batch = rec.build_batch([Record(value=f"v{i}".encode(), timestamp=BASE_TIME + i * 1000)])
            check_equal(client.produce("times", 0, batch)["error_code"], 0, "produce")
    out = kcat("-C", "-b", server.bootstrap, "-t", "times", "-p", "0", "-o", f"s@{BASE_TIME + 6500}", "-e", "-q")
    check_equal(out.split(), [b"v7", b"v8", b"v9"], "records from a time on")
    out = kcat("-Q", "-b", server.bootstrap, "-t", f"times:0:{BASE_TIME + 3000}")
    check(b"offset 3" in out, f"offset by time: {out}")
    out = kcat("-C", "-b", server.bootstrap, "-t", "times", "-p", "0", "-o", "-2", "-e", "-q")
    check_equal(out.split(), [b"v8", b"v9"], "the last two records")
    out = kcat("-L", "-b", server.bootstrap)
    check(b'topic "times" with 1 partitions' in out, f"metadata: {out}")


# ---- librdkafka, C++

def line_client(command, sent=None, timeout=60):
    """Runs one of our client programs; returns the lines it printed."""
    text = None if sent is None else "".join(rec.to_line(r) + "\n" for r in sent)
    done = subprocess.run([str(c) for c in command], input=text, capture_output=True, text=True, timeout=timeout)
    check_equal(done.returncode, 0, f"{command[0]}: {done.stderr[-600:]}")
    return done.stdout.splitlines()


@test(timeout=90)
def librdkafka_produces_and_consumes_with_each_codec(context):
    program = context.program("tests/e2e/rdkafka_client")
    server = context.start()

    def produce(topic, codec, sent):
        acknowledged = line_client([program, "produce", server.bootstrap, topic, codec, "all"], sent)
        check_equal(len(acknowledged), len(sent), "acknowledgements")

    def consume(topic, partition, count):
        lines = line_client([program, "consume", server.bootstrap, topic, partition, "beginning", count, 20000])
        return [rec.from_line(line) for line in lines]

    each_codec(context, produce, consume, "rdkafka")


@test()
def librdkafka_starts_at_an_offset_and_at_a_time_and_with_every_acks(context):
    program = context.program("tests/e2e/rdkafka_client")
    server = context.start()
    for acks in ("0", "1", "all"):
        topic = f"acks-{acks}"
        new_topic(server, topic, 1)
        sent = [Record(None, f"{i}".encode(), [], BASE_TIME + i * 1000) for i in range(20)]
        line_client([program, "produce", server.bootstrap, topic, "none", acks], sent)
        lines = line_client([program, "consume", server.bootstrap, topic, 0, "12", 8, 20000])
        check_received(sent[12:], [rec.from_line(line) for line in lines], f"from offset 12, acks {acks}")
        lines = line_client([program, "consume", server.bootstrap, topic, 0, f"@{BASE_TIME + 14500}", 5, 20000])
        check_received(sent[15:], [rec.from_line(line) for line in lines], f"from a time, acks {acks}")


# ---- python3-confluent-kafka

def confluent():
    try:
        import confluent_kafka
    except ImportError:
        raise Skip("python3-confluent-kafka is not installed") from None
    return confluent_kafka


def confluent_produce(server, topic, codec, sent, **settings):
    kafka = confluent()
    failures = []
    producer = kafka.Producer({"bootstrap.servers": server.bootstrap, "compression.codec": codec, "acks": "all",
                               "linger.ms": 5, "message.timeout.ms": 20000, **settings})

    def delivered(error, message):
        if error is not None:
            failures.append(str(error))

    for r in sent:
        producer.produce(topic, r.value, r.key, r.partition, on_delivery=delivered, timestamp=r.timestamp,
                         headers=list(r.headers))
        producer.poll(0)
    check_equal(producer.flush(30), 0, "confluent: records not delivered in time")
    check(not failures, f"confluent: {failures[:3]}")


def confluent_consume(server, topic, partition, count, offset=None, timeout=20):
    kafka = confluent()
    consumer = kafka.Consumer({"bootstrap.servers": server.bootstrap, "group.id": "never-joined",
                               "enable.auto.commit": False, "check.crcs": True})
    start = kafka.OFFSET_BEGINNING if offset is None else offset
    consumer.assign([kafka.TopicPartition(topic, partition, start)])
    got, deadline = [], time.monotonic() + timeout
    while len(got) < count and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is None:
            continue
        check(message.error() is None, f"confluent: {message.error()}")
        got.append(Record(message.key(), message.value(), message.headers() or [], message.timestamp()[1],
                          message.offset(), partition))
    consumer.close()
    return got


@test(timeout=90)
def confluent_kafka_produces_and_consumes_with_each_codec(context):
    confluent()
    server = context.start()
    each_codec(context,
               lambda topic, codec, sent: confluent_produce(server, topic, codec, sent),
               lambda topic, partition, count: confluent_consume(server, topic, partition, count), "confluent")


@test()
def confluent_kafka_goes_on_in_the_middle_of_several_partitions_after_a_restart(context):
    """One Fetch asks for all partitions, at places that the server has not read since it started, in its files."""
    kafka = confluent()
    server = context.start("--profile", "ci")
    partitions, count, filler = 6, 4000, b"." * 1000
    new_topic(server, "many", partitions)
    value = lambda partition, offset: b"%d/%d " % (partition, offset) + filler
    confluent_produce(server, "many", "none", [Record(None, value(p, i), [], BASE_TIME, partition=p)
                                               for i in range(count) for p in range(partitions)],
                      **{"queue.buffering.max.messages": count * partitions, "batch.size": 4000})
    for first in (711, 1002):
        check_equal(server.stop(), 0, "exit code after SIGTERM")
        server.start("--profile", "ci")
        consumer = kafka.Consumer({"bootstrap.servers": server.bootstrap, "group.id": "never-joined",
                                   "enable.auto.commit": False, "check.crcs": True})
        consumer.assign([kafka.TopicPartition("many", p, first) for p in range(partitions)])
        next_offsets, deadline = [first] * partitions, time.monotonic() + 20
        while min(next_offsets) < first + 1000 and time.monotonic() < deadline:
            for message in consumer.consume(1000, 0.2):
                check(message.error() is None, f"confluent: {message.error()}")
                p = message.partition()
                check_equal(message.offset(), next_offsets[p], f"offset in partition {p}")
                check(message.value() == value(p, message.offset()),
                      f"partition {p}, offset {message.offset()}: {message.value()[:20]}")
                next_offsets[p] += 1
        consumer.close()
        check(min(next_offsets) >= first + 1000, f"not all records came: {next_offsets}")


@test()
def confluent_kafka_administers_topics_and_offsets(context):
    kafka = confluent()
    from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic
    server = context.start()
    admin = AdminClient({"bootstrap.servers": server.bootstrap})
    for future in admin.create_topics([NewTopic("made", 3, 1, config={"retention.ms": "123456"})]).values():
        future.result(20)
    for future in admin.create_partitions([NewPartitions("made", 5)]).values():
        future.result(20)
    check_equal(len(admin.list_topics("made", 10).topics["made"].partitions), 5, "partitions")
    resource = ConfigResource(ConfigResource.Type.TOPIC, "made")
    configs = admin.describe_configs([resource])[resource].result(20)
    check_equal(configs["retention.ms"].value, "123456", "retention.ms")
    check_equal(configs["cleanup.policy"].value, "delete", "cleanup.policy")
    sent = [Record(None, f"{i}".encode(), [], BASE_TIME + i * 1000) for i in range(10)]
    confluent_produce(server, "made", "none", sent)
    consumer = kafka.Consumer({"bootstrap.servers": server.bootstrap, "group.id": "never-joined"})
    check_equal(consumer.get_watermark_offsets(kafka.TopicPartition("made", 0), 10), (0, 10), "watermarks")
    at = consumer.offsets_for_times([kafka.TopicPartition("made", 0, BASE_TIME + 2500)], 10)
    check_equal(at[0].offset, 3, "offset by time")
    consumer.close()
    for future in admin.delete_topics(["made"]).values():
        future.result(20)
    check("made" not in admin.list_topics(timeout=10).topics, "the deleted topic is still listed")


# ---- python3-kafka

def kafka_python():
    try:
        import kafka
    except ImportError:
        raise Skip("python3-kafka is not installed") from None
    return kafka


@test(timeout=120)
def kafka_python_produces_and_consumes_with_each_codec(context):
    kafka = kafka_python()
    server = context.start()

    def produce(topic, codec, sent):
        producer = kafka.KafkaProducer(bootstrap_servers=server.bootstrap, acks="all", linger_ms=5, retries=3,
                                       compression_type=None if codec == "none" else codec)
        futures = [producer.send(topic, r.value, r.key, list(r.headers), r.partition, r.timestamp) for r in sent]
        producer.flush(30)
        for future in futures:
            future.get(10)
        producer.close(10)

    def consume(topic, partition, count):
        consumer = kafka.KafkaConsumer(bootstrap_servers=server.bootstrap, group_id=None, check_crcs=True,
                                       auto_offset_reset="earliest", max_partition_fetch_bytes=4 << 20)
        target = kafka.TopicPartition(topic, partition)
        consumer.assign([target])
        consumer.seek_to_beginning(target)
        got, deadline = [], time.monotonic() + 20
        while len(got) < count and time.monotonic() < deadline:
            for message in consumer.poll(200).get(target, []):
                got.append(Record(message.key, message.value, list(message.headers), message.timestamp,
                                  message.offset, partition))
        consumer.close()
        return got

    each_codec(context, produce, consume, "kafka-python")


@test()
def kafka_python_seeks_by_time_and_administers_topics(context):
    kafka = kafka_python()
    from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic
    server = context.start()
    admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    admin.create_topics([NewTopic("made", 2, 1)])
    admin.create_partitions({"made": NewPartitions(4)})
    producer = kafka.KafkaProducer(bootstrap_servers=server.bootstrap, acks="all")
    for i in range(10):
        producer.send("made", f"{i}".encode(), partition=1, timestamp_ms=BASE_TIME + i * 1000).get(10)
    producer.close(10)
    consumer = kafka.KafkaConsumer(bootstrap_servers=server.bootstrap, group_id=None)
    check_equal(consumer.partitions_for_topic("made"), {0, 1, 2, 3}, "partitions")
    target = kafka.TopicPartition("made", 1)
    check_equal(consumer.beginning_offsets([target]), {target: 0}, "beginning offsets")
    check_equal(consumer.end_offsets([target]), {target: 10}, "end offsets")
    check_equal(consumer.offsets_for_times({target: BASE_TIME + 4500})[target].offset, 5, "offset by time")
    check_equal(consumer.offsets_for_times({target: BASE_TIME + 99999999})[target], None, "a time after the end")
    consumer.close()
    answers = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "made")])
    names = [entry[0] for answer in answers for entry in answer.resources[0][4]]
    check("cleanup.policy" in names, f"configs: {names}")
    admin.delete_topics(["made"])
    check("made" not in admin.list_topics(), "the deleted topic is still listed")
    admin.close()


# ---- kafkajs

def node_client(context):
    from pathlib import Path
    directory = Path(__file__).resolve().parent.parent / "node"
    if shutil.which("node") is None:
        raise Skip("node is not installed")
    installed = directory / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (directory / "package-lock.json").stat().st_mtime:
        if shutil.which("npm") is None:
            raise Skip("npm is not installed")
        done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=directory,
                              capture_output=True, text=True, timeout=100)
        if done.returncode != 0:
            raise Skip(f"npm ci in tests/e2e/node failed: {done.stderr.strip()[-200:]}")
    return ["node", directory / "client.js"]


@test(timeout=200)
def kafkajs_produces_and_consumes_with_each_codec(context):
    client = node_client(context)
    server = context.start()

    def produce(topic, codec, sent):
        line_client([*client, "produce", server.bootstrap, topic, codec, -1], sent)

    def consume(topic, partition, count):
        lines = line_client([*client, "consume", server.bootstrap, topic, partition, 0, count, 20000])
        return [rec.from_line(line) for line in lines]

    each_codec(context, produce, consume, "kafkajs")


@test(timeout=120)
def kafkajs_administers_topics(context):
    import json
    client = node_client(context)
    server = context.start()
    answer = json.loads(line_client([*client, "admin", server.bootstrap, "made"])[-1])
    check_equal((answer["created"], answer["again"]), (True, False), "createTopics twice")
    check_equal(answer["partitions"], 5, "partitions")
    check("made" in answer["topics"] and "made" not in answer["after"], f"topics: {answer}")
    check_equal(sorted((o["partition"], o["low"], o["high"]) for o in answer["offsets"]),
                [(i, "0", "0") for i in range(5)], "offsets")
    check_equal(answer["brokers"], 1, "brokers")
    check(["cleanup.policy", "delete"] in answer["configs"], f"configs: {answer['configs']}")


# ---- all together

@test()
def a_topic_is_created_when_a_client_first_uses_it(context):
    server = context.start()
    confluent_produce(server, "by-itself", "none", [Record(None, b"hello", [], BASE_TIME, partition=0)])
    check_equal(confluent_consume(server, "by-itself", 0, 1)[0].value, b"hello", "value")


@test(timeout=90)
def records_survive_a_clean_restart_and_a_kill(context):
    server = context.start()
    new_topic(server, "kept")
    sent = sample_records("zstd")
    confluent_produce(server, "kept", "zstd", sent)
    check_equal(server.stop(), 0, "exit code after SIGTERM")
    server.start()
    check_received(of_partition(sent, 0), read_raw(server, "kept", 0, 31), "after a clean restart")
    server.kill()
    server.start()
    for partition in (0, 1):
        mine = of_partition(sent, partition)
        check_received(mine, read_raw(server, "kept", partition, len(mine)), "after SIGKILL")
        check_received(mine, confluent_consume(server, "kept", partition, len(mine)), "after SIGKILL")
