"""Compacted topics: the newest record of each key stays, on every node, through deaths of all kinds."""

import random
import time

from harness import records as rec
from harness.cases import Skip, check, check_equal, eventually, test
from harness.cluster import Cluster
from harness.protocol import RawClient
from suites.cluster import SMALL_WAL

QUICK = "[tuning]\nretention_check_interval_ms = 200\n[tuning.checkpoint]\ninterval_ms = 200\n"
COMPACTED = {"cleanup.policy": "compact", "segment.bytes": "16384", "min.cleanable.dirty.ratio": "0.01",
             "delete.retention.ms": "100"}


def confluent():
    try:
        import confluent_kafka
    except ImportError:
        raise Skip("python3-confluent-kafka is not installed") from None
    return confluent_kafka


class Table:
    """What a topic's keys should be, and a stock producer that changes them."""

    def __init__(self, bootstrap, topic, codec="zstd", seed=1):
        self.values, self.topic, self.random = {}, topic, random.Random(seed)
        self.producer = confluent().Producer({
            "bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.codec": codec, "linger.ms": 5,
            "batch.num.messages": 20, "log_level": 0})

    def put(self, key, value):
        self.producer.produce(self.topic, key=key, value=value, partition=0)
        self.producer.poll(0)
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value

    def update(self, count, keys=50, size=200):
        for _ in range(count):
            self.put(b"key-%d" % self.random.randrange(keys), self.random.randbytes(size))
            if self.random.random() < 0.02:
                self.put(b"key-%d" % self.random.randrange(keys), None)
        self.flush()

    def flush(self):
        check_equal(self.producer.flush(20), 0, "messages that were not acknowledged")

    def check(self, bootstrap):
        """A stock consumer that reads all of it ends with the same table. Returns how many records it saw."""
        seen, count = consume(bootstrap, self.topic)
        check_equal(seen, self.values, "the table that a consumer sees")
        return count


def consume(bootstrap, topic):
    kafka = confluent()
    consumer = kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                               "enable.partition.eof": True, "auto.offset.reset": "error", "log_level": 0,
                               "check.crcs": True})
    consumer.assign([kafka.TopicPartition(topic, 0, 0)])
    seen, count, offset, deadline = {}, 0, -1, time.monotonic() + 20
    try:
        while time.monotonic() < deadline:
            message = consumer.poll(1)
            if message is None:
                continue
            if message.error():
                if message.error().code() == kafka.KafkaError._PARTITION_EOF:
                    return seen, count
                continue
            check(message.offset() > offset, f"offset {message.offset()} after {offset}")
            offset, count = message.offset(), count + 1
            if message.value() is None:
                seen.pop(message.key(), None)
            else:
                seen[message.key()] = message.value()
        raise AssertionError("the consumer did not reach the end")
    finally:
        consumer.close()


@test()
def only_the_newest_record_of_each_key_stays_also_after_sigkill(context):
    server = context.server()
    config = context.dir / "escd.toml"
    config.write_text(QUICK)
    server.start("--config", str(config))
    bootstrap = f"127.0.0.1:{server.port}"
    with RawClient(server.port) as client:
        check_equal(client.create_topic("t", 1, COMPACTED)["error_code"], 0, "create")
        for codec in ("none", "gzip"):
            answer = client.produce("t", 0, rec.build_batch([rec.Record(b"k", b"v"), rec.Record(None, b"v")], codec))
            check_equal(answer["error_code"], 87, f"a record without a key, {codec}")
    table, produced = Table(bootstrap, "t"), 0
    table.put(b"gone", b"1")
    table.put(b"gone", None)
    for _ in range(4):
        table.update(600)
        produced += 600
        server.kill()
        server.start("--config", str(config))
        table.check(bootstrap)
    table.put(b"last", b"x" * 15000)  # seals what is before it
    table.put(b"last", b"x" * 15000)
    table.flush()
    count = eventually(lambda: (lambda n: n if n < 250 else None)(table.check(bootstrap)), 15, 0.3,
                       f"most of {produced} records are gone")
    context.note(f"{produced} records of 50 keys, {count} left")
    server.kill()
    server.start("--config", str(config))
    check(table.check(bootstrap) < 250, "what was removed is back")
    with RawClient(server.port) as client:
        def tombstone():
            found, offset, end = [], 0, client.list_offset("t", 0, -1)["offset"]
            while offset < end:
                batches = client.fetch("t", 0, offset)["records"]
                found += rec.read_batches(batches, compacted=True)
                last = list(rec.batch_headers(batches))[-1][0]
                offset = last[0] + last[6] + 1
            return not [r for r in found if r.key == b"gone"]

        def removed():
            table.update(100)
            return tombstone()

        eventually(removed, 20, 0.3, "the tombstone is gone after delete.retention.ms")
    table.check(bootstrap)


@test(timeout=90)
def a_node_that_was_away_gets_the_compacted_log_by_snapshot(context):
    tuning = SMALL_WAL.replace("[tuning]\n", "[tuning]\nretention_check_interval_ms = 200\n", 1)
    cluster = Cluster(context, tuning=tuning).start()
    cluster.create_topic("t", 1, COMPACTED | {"segment.bytes": "131072"})
    table = Table(cluster.bootstrap, "t", codec="lz4")
    table.update(100, size=2000)
    table.put(b"doomed", b"1")
    table.flush()
    leader = cluster.leaders("t")[0]
    away = next(n for n in cluster.nodes if n.number != leader)
    away.kill()
    table.put(b"doomed", None)
    for _ in range(6):
        table.update(1000, size=2000)
    for node in cluster.alive():
        check(node.wait_log("compacted", 10), f"node {node.number} does not compact: {node.log_tail()}")
    away.spawn()
    away.wait_ready()
    check(away.wait_log("snapshot_installed", 20), f"no snapshot: {away.log_tail()}")
    table.check(cluster.bootstrap)
    # Whoever leads is not the one that was away; now it has to.
    for node in cluster.alive():
        if node is not away:
            node.kill()
            eventually(lambda: cluster.leaders("t", avoid=(node.number,)), 20, 0.2, "another leader")
            table.update(100, size=2000)
            table.check(cluster.bootstrap)
            node.spawn()
            node.wait_ready()
    check(away.wait_log("compacted", 10), f"the node that was away does not compact: {away.log_tail()}")
    table.check(cluster.bootstrap)
