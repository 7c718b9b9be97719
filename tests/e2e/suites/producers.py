"""Idempotent producers: what is sent again after a lost answer is stored once, on every node.

The stock clients repeat on their own; the raw client repeats exactly the batch that is asked for. Each test that
judges "once" also shows that a record which does stand twice would be seen.
"""

import random
import shutil
import subprocess

from harness import records as rec
from harness.cases import Skip, check_equal, test
from harness.cluster import Cluster, Load

IDEMPOTENT = {"enable.idempotence": True, "max.in.flight.requests.per.connection": 5,
              "message.send.max.retries": 1000000}


def sequenced(values, producer, sequence, epoch=0):
    return rec.batch_of(values, producer_id=producer, producer_epoch=epoch, base_sequence=sequence)


def once_each(cluster, topic, partitions, wanted, what):
    """The values of all partitions are these, none twice."""
    got = [r.value for p in range(partitions) for r in cluster.read(topic, p)]
    check_equal(len(got), len(set(got)), f"{what}: records stored, and different ones among them")
    check_equal(sorted(got), sorted(wanted), what)


@test(timeout=60)
def librdkafka_stores_each_event_once_on_one_node(context):
    try:
        import confluent_kafka
    except ImportError:
        raise Skip("python3-confluent-kafka is not installed") from None
    cluster = Cluster(context, nodes=1).start()
    cluster.create_topic("t", 3)
    failures = []
    for instance in range(3):
        producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 1,
                                             "log_level": 0, **IDEMPOTENT})
        for n in range(1000):
            producer.produce("t", f"{instance}-{n}", partition=n % 3,
                             on_delivery=lambda error, _: error and failures.append(error.name()))
            producer.poll(0)
        check_equal(producer.flush(20), 0, "messages left")
    check_equal(failures, [], "failed deliveries")
    once_each(cluster, "t", 3, [f"{i}-{n}".encode() for i in range(3) for n in range(1000)], "confluent_kafka")


@test(timeout=60)
def kcat_with_idempotence_works(context):
    if shutil.which("kcat") is None:
        raise Skip("kcat is not installed")
    cluster = Cluster(context, nodes=1).start()
    cluster.create_topic("t", 1)
    lines = [f"line {n}" for n in range(500)]
    for part in (lines[:250], lines[250:]):
        done = subprocess.run(["kcat", "-P", "-b", cluster.bootstrap, "-t", "t", "-X", "enable.idempotence=true"],
                              input="\n".join(part).encode(), capture_output=True, timeout=30)
        check_equal(done.returncode, 0, f"kcat: {done.stderr.decode(errors='replace')[-300:]}")
    once_each(cluster, "t", 1, [line.encode() for line in lines], "kcat")


@test(timeout=60)
def transactions_are_refused_at_once(context):
    cluster = Cluster(context, nodes=1).start()
    with cluster[1].connect() as client:
        answer = client.call("InitProducerId", 4, {"transactional_id": "payments", "transaction_timeout_ms": 1000,
                                                   "producer_id": -1, "producer_epoch": -1})
        check_equal((answer["error_code"], answer["producer_id"]), (53, -1), "InitProducerId with a transactional id")


@test(timeout=120, long_timeout=900)
def leader_sigkill_leaves_each_event_of_an_idempotent_producer_once(context):
    cluster = Cluster(context).start()
    load = Load(cluster, settings=IDEMPOTENT, retries=True)
    for number in range(20 if context.long else 2):
        victim = cluster[cluster.leaders("load")[number % 3]]
        victim.kill()
        load.wait_progress(what=f"acknowledgements after SIGKILL of node {victim.number}")
        victim.spawn()
        victim.wait_ready()
        load.run(random.uniform(0.3, 0.8))
    load.stop()
    stored, twice = load.verify()
    check_equal(twice, 0, "records stored twice")
    # Would it be seen?
    again = cluster.read("load", 0)[-1].value
    cluster.produce("load", 0, [again])
    check_equal(load.verify(), (stored + 1, 1), "records, and those stored twice, after one was sent twice")
    cluster.stop_all()
    cluster.check_equal_logs()
    context.note(f"{load.count()} acknowledged, {stored} stored, none twice, {len(load.errors)} unknown")


@test(timeout=90)
def a_batch_repeated_after_a_failover_or_a_restart_is_answered_with_the_original(context):
    cluster = Cluster(context).start()
    cluster.create_topic("t", 1)

    def take_id(client):
        answer = client.call("InitProducerId", 1, {"transactional_id": None, "transaction_timeout_ms": 0})
        return answer["producer_id"] if answer["error_code"] == 0 else None

    ids = {cluster.ask(take_id) for _ in range(20)}
    check_equal(len(ids), 20, "different producer ids")
    producer = ids.pop()
    batches = [sequenced([b"%d-%d" % (n, i) for i in range(3)], producer, 3 * n) for n in range(5)]

    def send(batch, wanted=(0,)):
        def call(client):
            answer = client.produce("t", 0, batch, timeout_ms=3000)
            return answer if answer["error_code"] in wanted else None
        return cluster.call_leader("t", 0, call)

    def send_all(what):
        check_equal([send(b)["base_offset"] for b in batches], [0, 3, 6, 9, 12], what)

    send_all("offsets")
    send_all("offsets when repeated")
    for _ in range(2):
        victim = cluster[cluster.leaders("t")[0]]
        victim.kill()
        send_all("offsets when repeated to the next leader")
        victim.spawn()
        victim.wait_ready()
    check_equal(cluster.end_offset("t", 0), 15, "end of the log")
    check_equal(send(sequenced([b"gap"], producer, 16), (45,))["error_code"], 45, "a gap")
    check_equal(send(sequenced([b"next"], producer, 0, epoch=1))["base_offset"], 15, "a new epoch")
    check_equal(send(batches[4], (47,))["error_code"], 47, "the epoch before")
    cluster.stop_all()
    for node in cluster.nodes:
        node.spawn()
    for node in cluster.nodes:
        node.wait_ready()
    check_equal(send(sequenced([b"next"], producer, 0, epoch=1))["base_offset"], 15, "repeated after a restart of all")
    check_equal(send(batches[4], (47,))["error_code"], 47, "the epoch before, after a restart of all")
    cluster.stop_all()
    cluster.check_equal_logs()
