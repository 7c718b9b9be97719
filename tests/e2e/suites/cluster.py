"""Three nodes under load: killed, stopped, restarted, starved of disk, spoken to by strangers.

Invariant of every test: what the producer was told is in the log at the offset it was told, in the order sent,
and after a stop the partition files of all nodes hold the same bytes (harness/cluster.py says what can be said
of records whose acknowledgement was lost).
"""

import random
import socket
import time

from harness import records as rec
from harness.cases import check, check_equal, eventually, test
from harness.cluster import TUNING, Cluster, Load
from harness.protocol import ProtocolError, RawClient
from harness.server import run_to_end
from suites.disk_faults import SmallDisk

SMALL_WAL = TUNING + """
[tuning.wal]
segment_bytes = '1MiB'
bytes_max = '4MiB'
spare_segments = 1
[tuning.checkpoint]
interval_ms = 200
bytes = '1MiB'
[tuning.batch]
frame_bytes_max = '256KiB'
[topics]
segment_bytes = '1MiB'
max_message_bytes = '128KiB'
"""


def report_gap(context, load, began, word):
    gaps = [load.longest_gap_ms(p, began) for p in range(load.partitions)]
    context.note(f"{word}: longest pause of acknowledgements {max(gaps):.0f} ms")


@test(timeout=60)
def five_thousand_events_reach_all_nodes(context):
    cluster = Cluster(context).start()
    cluster.create_topic("t", 6)
    values = [b"%05d" % n + b"v" * (n % 300) for n in range(5000)]
    for first in range(0, 5000, 100):
        cluster.produce("t", first // 100 % 6, values[first:first + 100])
    for partition in range(6):
        wanted = [v for first in range(100 * partition, 5000, 600) for v in values[first:first + 100]]
        check_equal([r.value for r in cluster.read("t", partition)], wanted, f"partition {partition}")
    cluster.stop_all()
    check_equal(cluster.check_equal_logs() >= 6, True, "partitions on each node")


@test(timeout=60)
def every_node_tells_clients_the_same_leaders_and_only_leaders_serve(context):
    cluster = Cluster(context).start()
    cluster.create_topic("t", 3)

    def views():
        seen = []
        for node in cluster.nodes:
            with node.connect() as client:
                answer = client.metadata(["t"])
            check_equal({b["node_id"]: (b["host"], b["port"]) for b in answer["brokers"]},
                        {n.number: (n.host, n.port) for n in cluster.nodes}, f"brokers told by node {node.number}")
            topic = answer["topics"][0]
            seen.append((answer["controller_id"], sorted((p["index"], p["leader_id"], p["leader_epoch"])
                                                         for p in topic["partitions"])))
        return seen[0] if seen[0][1] and all(s == seen[0] for s in seen) else None

    _, partitions = eventually(views, 10, what="all nodes tell the same")
    for index, leader, _ in partitions:
        for node in cluster.nodes:
            with node.connect() as client:
                produced = client.produce("t", index, rec.batch_of([b"x"]))["error_code"]
                fetched = client.fetch("t", index, 0, max_wait_ms=10)["error_code"]
            wanted = 0 if node.number == leader else 6
            check_equal((produced, fetched), (wanted, wanted), f"partition {index} at node {node.number}")


@test(timeout=60)
def leadership_spreads_over_the_nodes(context):
    cluster = Cluster(context).start()
    cluster.create_topic("t", 3)
    eventually(lambda: len(set(cluster.leaders("t"))) == 3, 25, 0.3, "each node leads one of three groups")


@test(timeout=120, long_timeout=1200)
def leader_sigkill_under_load(context):
    cluster = Cluster(context).start()
    load = Load(cluster)
    for number in range(30 if context.long else 3):
        victim = cluster[cluster.leaders("load")[number % 3]]
        began = time.monotonic() * 1000
        victim.kill()
        load.wait_progress(what=f"acknowledgements after SIGKILL of node {victim.number}")
        report_gap(context, load, began, f"node {victim.number} killed")
        load.run(random.uniform(0.1, 0.5))
        victim.spawn()
        victim.wait_ready()
        load.run(random.uniform(0.5, 1.0))
    load.finish()


@test(timeout=90, long_timeout=900)
def follower_sigkill_and_rejoin(context):
    cluster = Cluster(context).start()
    load = Load(cluster)
    for number in range(20 if context.long else 2):
        leaders = cluster.leaders("load")
        victim = next((n for n in cluster.nodes if n.number not in leaders), cluster[1 + number % 3])
        victim.kill()
        load.wait_progress(what="acknowledgements by the other two")
        load.run(random.uniform(0.2, 1.0))
        victim.spawn()
        victim.wait_ready()
        load.run(0.5)
    load.finish()


@test(timeout=120, long_timeout=900)
def leader_stopped_for_a_moment(context):
    """SIGSTOP: the others must not wait for it longer than an election, and it must notice when it wakes."""
    cluster = Cluster(context).start()
    load = Load(cluster, reorders=True)
    for seconds in (0.1, 0.3, 0.7, 1.5, 5.0) * (6 if context.long else 1):
        victim = cluster[cluster.leaders("load")[0]]
        began = time.monotonic() * 1000
        victim.pause()
        time.sleep(seconds)
        victim.resume()
        load.wait_progress(what=f"acknowledgements after a stop of {seconds} s")
        report_gap(context, load, began, f"node {victim.number} stopped for {seconds} s")
    load.finish()


@test(timeout=90)
def two_of_three_down_means_no_acknowledgement_until_one_is_back(context):
    cluster = Cluster(context).start()
    load = Load(cluster, retries=True, reorders=True)
    left = cluster[cluster.leaders("load")[0]]
    gone = [n for n in cluster.nodes if n is not left]
    for node in gone:
        node.kill()
    time.sleep(0.5)  # what was already acknowledged reaches the client
    before = load.poll()
    load.run(2.5)
    check_equal(load.count(), before, "acknowledgements while two of three nodes are down")
    gone[0].spawn()
    gone[0].wait_ready()
    load.wait_progress(what="acknowledgements when two of three run again")
    gone[1].spawn()
    gone[1].wait_ready()
    load.run(1)
    load.finish()


@test(timeout=90, long_timeout=600)
def two_of_three_restarted_at_once_under_load(context):
    cluster = Cluster(context).start()
    load = Load(cluster)
    for number in range(10 if context.long else 2):
        pair = [cluster[1 + (number + k) % 3] for k in range(2)]
        for node in pair:
            node.kill()
        for node in pair:
            node.spawn()
        for node in pair:
            node.wait_ready()
        load.wait_progress(what="acknowledgements after the restart of two nodes")
        load.run(0.5)
    load.finish()


@test(timeout=90)
def all_three_killed_at_once_lose_nothing(context):
    cluster = Cluster(context).start()
    load = Load(cluster)
    load.run(0.5)
    for node in cluster.nodes:
        node.kill()
    for node in cluster.nodes:
        node.spawn()
    for node in cluster.nodes:
        node.wait_ready()
    load.wait_progress(what="acknowledgements after the restart of all nodes")
    load.finish()


@test(timeout=90)
def a_follower_behind_the_retained_log_catches_up_by_snapshot(context):
    """It misses four times what the write-ahead log keeps."""
    cluster = Cluster(context, tuning=SMALL_WAL).start()
    cluster.create_topic("bulk", 3)
    cluster.produce("bulk", 0, [b"before"])
    leaders = cluster.leaders("bulk")
    away = next((n for n in cluster.nodes if n.number not in leaders), cluster[3])
    away.kill()
    body, counts = b"s" * 60_000, [0, 0, 0]
    for number in range(270):
        cluster_value = b"%06d" % number + body
        partition = number % 3
        cluster.produce("bulk", partition, [cluster_value])
        counts[partition] += 1
    time.sleep(1)
    away.spawn()
    away.wait_ready()
    # Another node goes: commits now need the one that was away, so it must have caught up.
    other = next(n for n in cluster.nodes if n is not away)
    time.sleep(1)
    other.kill()
    for partition in range(3):
        cluster.produce("bulk", partition, [b"after"], timeout=30)
        values = [r.value for r in cluster.read("bulk", partition)]
        check_equal(len(values), counts[partition] + 1 + (partition == 0), f"records of partition {partition}")
        check_equal(values[-1], b"after", "last record")
    check(away.wait_log("snapshot_installed", 5), f"it caught up without a snapshot: {away.log_tail()}")
    other.spawn()
    other.wait_ready()
    time.sleep(2)
    cluster.stop_all()
    cluster.check_equal_logs()


@test(timeout=120, long_timeout=900)
def rolling_restart_under_load_shows_clients_no_error(context):
    cluster = Cluster(context).start()
    load = Load(cluster, retries=True)
    for _ in range(5 if context.long else 1):
        for node in cluster.nodes:
            began = time.monotonic() * 1000
            check_equal(node.stop(20), 0, f"exit code of node {node.number}")
            load.wait_progress(what=f"acknowledgements while node {node.number} is away")
            node.spawn()
            node.wait_ready()
            load.wait_progress(more=200)
            report_gap(context, load, began, f"node {node.number} restarted")
            load.run(1)
    check_equal(load.errors, [], "messages that the client gave up")
    load.finish()


@test(timeout=120)
def a_full_disk_on_one_node_leaves_the_cluster_serving(context):
    disk = SmallDisk(context, 300)
    cluster = Cluster(context, tuning=SMALL_WAL, data_dirs={2: disk.path / "data"}).start()
    load = Load(cluster, rate=600)
    cluster.create_topic("bulk", 3)
    eventually(lambda: 2 in cluster.leaders("bulk"), 20, 0.2, "node 2 leads a group")
    disk.fill()
    for number in range(60):  # enough to need new segment files everywhere
        cluster.produce("bulk", number % 3, [b"%04d" % number + b"d" * 100_000], timeout=30)
    load.wait_progress(what="acknowledgements while the disk of node 2 is full")
    check(cluster[2].wait_log("space|full", 10), f"node 2 does not mention its disk: {cluster[2].log_tail()}")
    disk.release()
    if not cluster[2].alive():
        cluster[2].spawn()
        cluster[2].wait_ready()
    load.run(1)
    victim = next(n for n in cluster.nodes if n.number != 2)
    victim.kill()  # now node 2 is needed
    load.wait_progress(timeout=30, what="acknowledgements with node 2 once it has space")
    victim.spawn()
    victim.wait_ready()
    load.run(2)
    load.finish()


@test(timeout=60)
def garbage_on_the_peer_port_is_refused_and_harms_nothing(context):
    cluster = Cluster(context).start()
    load = Load(cluster)
    generator = random.Random(7)
    node = cluster[cluster.leaders("load")[0]]
    hostile = []
    for number in range(60):
        try:
            link = socket.create_connection((node.host, node.peer_port), 5)
            link.settimeout(5)
            hostile.append(link)
            kind = number % 4
            if kind == 0:
                link.sendall(generator.randbytes(generator.randrange(1, 5000)))
            elif kind == 1:
                link.sendall(b"\0\0\0\x12\0\x12\0\x03\0\0\0\1\0\x03abc\0\0\0")  # a Kafka request at the wrong door
            elif kind == 2:
                link.sendall(b"\xff" * 64)
            # else: says nothing at all
        except OSError:
            pass  # it may be refused, never served
    closed = sum(_is_closed(link) for link in hostile[::4] + hostile[2::4])
    check(closed >= 25, f"only {closed} of 30 connections that spoke nonsense were closed")
    load.wait_progress(what="acknowledgements among strangers")
    for link in hostile:
        link.close()
    check(all(n.alive() for n in cluster.nodes), "a node died")
    load.finish()


def _is_closed(link):
    try:
        link.settimeout(8)
        while link.recv(65536):
            pass
        return True
    except ConnectionError:
        return True
    except OSError:
        return False


@test(timeout=60)
def a_wrong_secret_or_cluster_id_keeps_a_node_out_and_is_told_on_both_sides(context):
    for word, settings in (("secret", {"secret": "another-secret-of-16-bytes"}), ("cluster", {"cluster_id": "other"})):
        cluster = Cluster(context)
        for node in cluster.nodes:
            node.data_dir += f"-{word}"
            node.log_path += f".{word}"
        stranger = cluster[3]
        cluster.start()  # a new cluster begins with all of its nodes
        stranger.kill()
        cluster.configure(stranger, **settings)
        if "cluster_id" in settings:
            stranger.data_dir += "-of-the-other"
        stranger.spawn()
        cluster.create_topic("t", 3)
        cluster.leaders("t", avoid=(3,))  # its last life may have led until now
        cluster.produce("t", 0, [b"x"])
        for node in (stranger, cluster[1]):
            check(node.wait_log(word, 10), f"node {node.number} does not say that the {word} differs: {node.log_tail()}")
        check(3 not in cluster.leaders("t"), "the stranger leads")
        check(stranger.alive() and cluster[1].alive(), "a node died of it")
        for node in cluster.nodes:
            node.kill()


@test(timeout=60)
def no_node_stores_a_record_when_alone(context):
    cluster = Cluster(context)
    alone = cluster[1]
    alone.spawn()
    time.sleep(1.5)
    try:
        with RawClient(alone.port, 5) as client:
            answer = client.metadata(["t"], auto_create=True)
            check_equal([p["leader_id"] for t in answer["topics"] for p in t["partitions"] if p["leader_id"] > 0], [],
                        "leaders in a minority")
            check(client.produce("t", 0, rec.batch_of([b"x"]), timeout_ms=500)["error_code"] != 0, "acknowledged")
    except (OSError, ProtocolError):
        pass  # it may also refuse to serve
    for node in (cluster[2], cluster[3]):  # a new cluster begins with all of its nodes
        node.spawn()
        node.wait_ready()
    cluster.create_topic("t", 1)
    check_equal([r.value for r in cluster.read("t", 0)], [], "records from the time alone")


@test(timeout=30)
def configuration_errors_of_a_cluster_are_told_before_anything_is_written(context):
    base = "[node]\nid = {id}\n[cluster]\nid = 'e2e'\nsecret = '{secret}'\nnodes = [{nodes}]\n"
    one = "{ id = 1, peer = '127.0.0.1:19191', kafka = '127.0.0.1:19091' }"
    two = "{ id = 2, peer = '127.0.0.1:19192', kafka = '127.0.0.1:19092' }"
    cases = [({"id": 7, "secret": "x" * 20, "nodes": f"{one}, {two}"}, "7"),
             ({"id": 1, "secret": "short", "nodes": f"{one}, {two}"}, "secret"),
             ({"id": 1, "secret": "x" * 20, "nodes": f"{one}, {one}"}, "1")]
    for number, (values, word) in enumerate(cases):
        path = context.dir / f"{number}.toml"
        path.write_text(base.format(**values))
        data = context.dir / f"data-{number}"
        code, _, errors = run_to_end(context.escd, "--config", str(path), "--data", str(data))
        check_equal(code, 2, f"exit code: {errors}")
        check(word in errors, f"the message does not name {word!r}: {errors}")
        check(not data.exists(), "the data directory was made")
