"""SIGKILL at random moments under load from a stock client.

The producer runs in a process of its own with acks=all and no retries: what it was told is then exactly what
the server said, and the order in which it sent is the order that must be in the log. Checked after every
restart: each acknowledged record is at its acknowledged offset, sequence numbers rise within a partition,
offsets are dense, nothing that a consumer saw has vanished, and acknowledged topics still exist.
"""

import os
import random
import signal
import time

from harness import records as rec
from harness.cases import Skip, check, check_equal, test
from harness.protocol import ProtocolError, RawClient
from harness.server import Escd

PARTITIONS = 6
TOPIC = "chaos"


def value_of(partition, sequence):
    """What a record must contain: any other content at its place is a wrong byte."""
    head = f"{partition}:{sequence}:"
    return (head + "abcdefghij" * (sequence * 37 % (1500 if sequence % 50 == 0 else 40))).encode()


def producer_process(bootstrap, ack_path, events_per_second, settings):
    """Never returns. Writes one line for each acknowledgement: partition, sequence, offset."""
    import confluent_kafka
    acks = os.open(ack_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def delivered(error, message):
        if error is None:
            sequence = message.value().split(b":", 2)[1].decode()
            os.write(acks, f"{message.partition()} {sequence} {message.offset()}\n".encode())

    producer = confluent_kafka.Producer({
        "bootstrap.servers": bootstrap, "acks": "all", "message.send.max.retries": 0, "linger.ms": 2,
        "message.timeout.ms": 120000, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100, "log_level": 0,
        "socket.nagle.disable": True, "topic.metadata.refresh.interval.ms": 1000, **settings})
    sequences = [0] * PARTITIONS
    generator, sent, began = random.Random(1), 0, time.monotonic()
    while True:
        partition = generator.randrange(PARTITIONS)
        try:
            producer.produce(TOPIC, value_of(partition, sequences[partition]), partition=partition,
                             on_delivery=delivered)
            sequences[partition] += 1
            sent += 1
        except BufferError:
            producer.poll(0.05)
        ahead = sent / events_per_second - (time.monotonic() - began)
        producer.poll(max(0.0, min(ahead, 0.05)) if ahead > 0.005 else 0)
        if ahead < -1:  # the server was away: do not catch up in one burst
            sent, began = 0, time.monotonic()


class Log:
    """What the test knows about each partition, grown after every round."""

    def __init__(self, ack_path):
        self.ack_path, self.ack_position, self.ack_rest = ack_path, 0, ""
        self.acknowledged = [{} for _ in range(PARTITIONS)]  # offset -> sequence
        self.sequences = [[] for _ in range(PARTITIONS)]     # by offset, as verified from the server
        self.seen = [0] * PARTITIONS                         # end of what a consumer was given
        self.topics = set()

    def read_acks(self):
        with open(self.ack_path, encoding="ascii") as file:
            file.seek(self.ack_position)
            text = self.ack_rest + file.read()
            self.ack_position = file.tell()
        lines = text.split("\n")
        self.ack_rest = lines.pop()
        for line in lines:
            partition, sequence, offset = map(int, line.split())
            other = self.acknowledged[partition].setdefault(offset, sequence)
            check_equal(other, sequence, f"offset {offset} of partition {partition} was acknowledged twice")

    def consume(self, client, partition):
        """One fetch from the end of what is known; used while the load runs."""
        answer = client.fetch(TOPIC, partition, self.seen[partition], max_wait_ms=5, partition_max_bytes=256 << 10)
        check(answer["error_code"] == 0, f"fetch during load: error {answer['error_code']}")
        for record in rec.read_batches(answer["records"], check_crc=False):
            if record.offset >= self.seen[partition]:
                check_equal(record.offset, self.seen[partition], f"gap before offset {record.offset}")
                self.seen[partition] = record.offset + 1

    def verify(self, client, from_start=False):
        self.read_acks()
        for partition in range(PARTITIONS):
            if from_start:
                self.sequences[partition] = []
            self._verify_partition(client, partition)

    def _verify_partition(self, client, partition):
        known = self.sequences[partition]
        before = len(known)
        end = client.list_offset(TOPIC, partition, -1)["offset"]
        needed = max(max(self.acknowledged[partition], default=-1) + 1, self.seen[partition])
        check(end >= needed, f"partition {partition} ends at {end}, but {needed} records were acknowledged or read")
        while len(known) < end:
            answer = client.fetch(TOPIC, partition, len(known), partition_max_bytes=1 << 20)
            check_equal(answer["error_code"], 0, f"fetch of partition {partition} at {len(known)}")
            fresh = [r for r in rec.read_batches(answer["records"]) if r.offset >= len(known)]
            check(fresh, f"partition {partition}: nothing at {len(known)} of {end}")
            for record in fresh:
                self._verify_record(partition, known, record)
        for offset, sequence in self.acknowledged[partition].items():
            if offset >= before:
                check_equal(known[offset], sequence, f"partition {partition}: acknowledged offset {offset}")

    def _verify_record(self, partition, known, record):
        check_equal(record.offset, len(known), f"partition {partition}: offsets not dense")
        where, sequence, _ = record.value.split(b":", 2)
        sequence = int(sequence)
        check_equal(record.value, value_of(partition, sequence), f"partition {partition} offset {record.offset}")
        check(not known or sequence > known[-1],
              f"partition {partition} offset {record.offset}: sequence {sequence} after {known[-1] if known else ''}")
        known.append(sequence)

    def verify_topics(self, client):
        listed = {t["name"] for t in client.metadata(None)["topics"]}
        check(self.topics <= listed, f"created topics have vanished: {sorted(self.topics - listed)[:5]}")

    def totals(self):
        return sum(map(len, self.sequences)), sum(map(len, self.acknowledged))


def load_until(server, log, seconds, new_topic):
    """Consumes while the producer works, creates a topic, and returns when the moment to kill has come."""
    deadline = time.monotonic() + seconds
    try:
        with RawClient(server.port, 20) as client:
            if new_topic:
                if client.create_topic(new_topic)["error_code"] == 0:
                    log.topics.add(new_topic)
            while time.monotonic() < deadline:
                log.consume(client, random.randrange(PARTITIONS))
    except (OSError, ProtocolError) as error:
        check(server.alive(), f"the server died by itself: {error}")
        raise


def kill_rounds(context, rounds, arguments, settings=None, events_per_second=4000, end=Escd.kill):
    """`end` ends the server at the chosen moment."""
    try:
        import confluent_kafka  # noqa: F401
    except ImportError:
        raise Skip("python3-confluent-kafka is not installed") from None
    seed = int(os.environ.get("ESC_E2E_SEED", random.randrange(1 << 30)))
    random.seed(seed)
    server = context.start(*arguments)
    with RawClient(server.port) as client:
        check_equal(client.create_topic(TOPIC, PARTITIONS)["error_code"], 0, "create")
    ack_path = str(context.dir / "acks")
    open(ack_path, "w").close()
    producer = os.fork()
    if producer == 0:
        try:
            producer_process(server.bootstrap, ack_path, events_per_second, settings or {})
        finally:
            os._exit(1)
    context.defer(lambda: (os.kill(producer, signal.SIGKILL), os.waitpid(producer, 0)))
    log = Log(ack_path)
    for number in range(rounds):
        load_until(server, log, random.choice((0.02, 0.1, 0.3, 0.6)) * random.uniform(0.5, 1.5),
                   f"round-{number}" if number % 5 == 0 else None)
        end(server)
        while random.random() < 0.25:  # a crash while recovering from the crash
            server.spawn(*arguments)
            time.sleep(random.uniform(0, 0.15))
            server.kill()
        server.start(*arguments)
        with RawClient(server.port, 20) as client:
            log.verify(client)
            log.verify_topics(client)
    with RawClient(server.port, 20) as client:
        log.verify(client, from_start=True)
    stored, acknowledged = log.totals()
    context.note(f"seed {seed}: {rounds} kills, {stored} records stored, {acknowledged} acknowledged, none lost")
    check(acknowledged > rounds * 10, f"only {acknowledged} acknowledgements in {rounds} rounds: no real load")


@test(timeout=240, long_timeout=1800)
def no_acknowledged_record_is_lost_in_50_kills(context):
    kill_rounds(context, 400 if context.long else 50, ())


@test(timeout=240, long_timeout=1800)
def nor_on_two_cores_with_small_segments_and_frequent_checkpoints(context):
    config = context.dir / "escd.toml"
    config.write_text("[topics]\nsegment_bytes = '2MiB'\n[tuning.wal]\nsegment_bytes = '4MiB'\n"
                      "[tuning.checkpoint]\ninterval_ms = 150\nbytes = '1MiB'\n")
    kill_rounds(context, 300 if context.long else 30, ("--cores", "2", "--config", str(config)),
                {"compression.codec": "lz4"}, 6000)


@test(timeout=120)
def a_clean_stop_under_load_loses_nothing_either(context):
    def stop(server):
        check_equal(server.stop(), 0, "exit code after SIGTERM under load")

    kill_rounds(context, 40 if context.long else 8, (), end=stop)
