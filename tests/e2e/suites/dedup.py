"""Dedup by event id: whoever sends an event again, over whatever connection, after whatever failure, it stands once."""

import os
import random
import select
import signal
import time
import traceback

from harness import records as rec
from harness.cases import Skip, check, check_equal, test
from harness.cluster import Cluster

WINDOW = {"dedup.window.ms": "3600000"}


def events(numbers, header="event-id"):
    return [rec.Record(value=b"event %d" % n, headers=[("trace", b"x"), (header, b"id-%d" % n)]) for n in numbers]


def send(cluster, topic, partition, records, codec="none", **fields):
    """(error code, base offset) of one batch, at the leader."""
    def produce(client):
        answer = client.produce(topic, partition, rec.build_batch(records, codec, **fields), timeout_ms=3000)
        return None if answer["error_code"] in (6, 7, 19) else (answer["error_code"], answer["base_offset"])

    return cluster.call_leader(topic, partition, produce)


def numbers_of(cluster, topic, partition):
    return [int(record.value.split()[1]) for record in cluster.read(topic, partition)]


def stock_client():
    try:
        import confluent_kafka
    except ImportError:
        raise Skip("python3-confluent-kafka is not installed") from None
    return confluent_kafka


def stock_producer(cluster, **settings):
    return stock_client().Producer({
        "bootstrap.servers": cluster.bootstrap, "linger.ms": 2, "log_level": 0, "acks": "all",
        "message.timeout.ms": 60000, "retry.backoff.ms": 50, "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 100, "topic.metadata.refresh.fast.interval.ms": 50, **settings})


def produce_events(producer, topic, partitions, numbers, failures):
    for n in numbers:
        producer.produce(topic, b"event %d" % n, partition=n % partitions, headers=[("event-id", b"id-%d" % n)],
                         on_delivery=lambda error, _: error and failures.append(error.name()))
        producer.poll(0)


@test(timeout=60)
def a_duplicate_is_answered_with_the_offset_of_the_original_in_every_codec(context):
    cluster = Cluster(context, nodes=1).start()
    cluster.create_topic("t", 1, WINDOW)
    offset, expected = 0, []
    for round_number, codec in enumerate(rec.CODECS):
        first = round_number * 10
        check_equal(send(cluster, "t", 0, events(range(first, first + 3)), codec), (0, offset), f"{codec}: new events")
        check_equal(send(cluster, "t", 0, events([first + 1, first + 2]), codec), (0, offset + 1), f"{codec}: all again")
        mixed = [first + 2, first + 3, first, first + 3, first + 4]
        check_equal(send(cluster, "t", 0, events(mixed), codec), (0, offset + 3), f"{codec}: some again")
        expected += list(range(first, first + 5))
        offset += 5
    check_equal(numbers_of(cluster, "t", 0), expected, "stored events")
    # Without an id, and on a topic without a window, everything passes.
    plain = [rec.Record(value=b"event 1000")]
    check_equal([send(cluster, "t", 0, plain) for _ in range(2)], [(0, offset), (0, offset + 1)], "without an id")
    cluster.create_topic("plain", 1)
    check_equal([send(cluster, "plain", 0, events([1])) for _ in range(2)], [(0, 0), (0, 1)], "without a window")


@test(timeout=60)
def the_id_is_where_the_topic_says_and_wrong_settings_are_refused_by_name(context):
    cluster = Cluster(context, nodes=1).start()
    cluster.create_topic("by-key", 1, {**WINDOW, "dedup.id": "key"})
    keyed = [rec.Record(key=b"k", value=b"event 1")]
    check_equal([send(cluster, "by-key", 0, keyed) for _ in range(2)], [(0, 0), (0, 0)], "the key is the id")
    check_equal(send(cluster, "by-key", 0, events([1])), (0, 1), "no key")
    cluster.create_topic("named", 1, {**WINDOW, "dedup.id": "header:x-id"})
    check_equal([send(cluster, "named", 0, events([1], "x-id")) for _ in range(2)], [(0, 0), (0, 0)], "another header")
    check_equal(send(cluster, "named", 0, events([1])), (0, 1), "the usual header")
    with cluster[1].connect() as client:
        for key, value in (("dedup.id", "value"), ("dedup.id", "header:"), ("dedup.window.ms", "soon"),
                           ("dedup.window.bytes", "1")):
            answer = client.create_topic("wrong", 1, {key: value})
            check_equal(answer["error_code"], 40, f"{key} = {value}")
            check(key in (answer.get("error_message") or ""), f"{key} is not named: {answer}")


@test(timeout=60)
def an_id_is_forgotten_when_its_window_has_passed(context):
    cluster = Cluster(context, nodes=1).start()
    cluster.create_topic("t", 1, {"dedup.window.ms": "1500"})
    check_equal(send(cluster, "t", 0, events([1])), (0, 0), "new")
    check_equal(send(cluster, "t", 0, events([1])), (0, 0), "again at once")
    time.sleep(1.8)
    check_equal(send(cluster, "t", 0, events([1])), (0, 1), "after the window")


@test(timeout=60)
def a_stock_producer_that_starts_anew_and_sends_all_again_adds_nothing(context):
    cluster = Cluster(context, nodes=1).start()
    cluster.create_topic("t", 3, WINDOW)
    failures = []
    for instance, codec in enumerate(("none", "lz4", "zstd", "gzip")):
        producer = stock_producer(cluster, **{"compression.type": codec, "enable.idempotence": instance % 2 == 1})
        produce_events(producer, "t", 3, range(900), failures)
        check_equal(producer.flush(30), 0, "messages left")
        if instance == 1:
            cluster[1].kill()
            cluster[1].spawn()
            cluster[1].wait_ready()
    check_equal(failures, [], "failed deliveries")
    for partition in range(3):
        check_equal(numbers_of(cluster, "t", partition), list(range(partition, 900, 3)), f"partition {partition}")


class DoomedProducer:
    """A stock producer in a process of its own, which sends these events and then waits for its SIGKILL."""

    def __init__(self, cluster, topic, partitions, numbers, settings):
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            self._send(cluster, topic, partitions, numbers, settings, writer)
        os.close(writer)
        self.done = os.fdopen(reader, "rb", buffering=0)
        cluster.context.defer(self.kill)

    @staticmethod
    def _send(cluster, topic, partitions, numbers, settings, writer):
        """Never returns."""
        word = b"?"
        try:
            failures = []
            producer = stock_producer(cluster, **settings)
            produce_events(producer, topic, partitions, numbers, failures)
            word = b"." if producer.flush(60) == 0 and not failures else b"!"
        except BaseException:
            traceback.print_exc()
        os.write(writer, word)
        while True:
            signal.pause()

    def finish(self):
        """Waits until everything is acknowledged."""
        check_equal(self.done.read(1), b".", "everything that the producer sent is acknowledged")

    def acknowledged(self):
        """Whether it had got that far already."""
        return bool(select.select([self.done], [], [], 0)[0])

    def kill(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
            self.done.close()


@test(timeout=120, long_timeout=1800)
def retry_storm_with_leader_sigkills_leaves_each_event_once_on_every_node(context):
    restarts, resent, fresh = (200, 1000, 60) if context.long else (20, 1000, 60)
    stock_client()
    cluster = Cluster(context).start()
    partitions = 3
    cluster.create_topic("storm", partitions, WINDOW)
    next_number, failures, kills, in_the_middle = 0, [], 0, 0
    victim = None
    for restart in range(restarts):
        first = max(0, next_number - resent)
        next_number += fresh
        producer = DoomedProducer(cluster, "storm", partitions, range(first, next_number),
                                  {"compression.type": random.choice(("none", "lz4", "zstd"))})
        if victim is not None:
            victim.spawn()
            victim.wait_ready()
            victim = None
        elif restart % 5 == 2:
            victim = cluster[cluster.leaders("storm")[restart % partitions]]
            victim.kill()
            kills += 1
        # Two of three die wherever they are: what they have sent may be stored or not, the next one sends it again.
        if restart % 3 == 2:
            producer.finish()
        else:
            time.sleep(random.uniform(0, 0.2))
            in_the_middle += not producer.acknowledged()
        producer.kill()
    if victim is not None:
        victim.spawn()
        victim.wait_ready()
    producer = stock_producer(cluster)
    produce_events(producer, "storm", partitions, range(max(0, next_number - 2 * resent), next_number), failures)
    check_equal((producer.flush(60), failures), (0, []), "messages left, and failed ones")
    for partition in range(partitions):
        got = numbers_of(cluster, "storm", partition)
        check_equal(len(got), len(set(got)), f"partition {partition}: records, and different events among them")
        check_equal(sorted(got), list(range(partition, next_number, partitions)), f"partition {partition}: events")
    # Would it be seen?
    cluster.produce("storm", 0, [b"event 0"])
    check_equal(numbers_of(cluster, "storm", 0).count(0), 2, "an event without its id, sent again")
    time.sleep(0.5)  # followers hear of the last commit with a heartbeat
    cluster.stop_all()
    cluster.check_equal_logs()
    context.note(f"{next_number} events, {restarts} producers killed, {in_the_middle} in the middle, "
                 f"{kills} SIGKILLs of a leader, each event once")
