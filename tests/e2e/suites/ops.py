"""What operators see: metrics and health over HTTP."""

import http.client
import os
import re
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

from harness.cases import Skip, check, check_equal, eventually, test
from harness.cluster import TUNING, Cluster
from harness.exposition import Exposition
from harness.protocol import RawClient
from harness.records import batch_of
from harness.server import free_ports, run_to_end

RECORDS = 3000
PARTITIONS = 6
METRICS_PAGE = Path(__file__).resolve().parents[3] / "docs" / "METRICS.md"


def admin_port(server):
    check(server.wait_log(r" ready .*admin=127\.0\.0\.1:\d+"), f"no admin address in the ready line: {server.log_tail()}")
    return int(re.search(r" ready .*admin=127\.0\.0\.1:(\d+)", server.log())[1])


def get(port, path, timeout=5):
    """Status, content type, text."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def scrape(port):
    status, kind, text = get(port, "/metrics")
    check_equal((status, kind), (200, "text/plain; version=0.0.4; charset=utf-8"), "/metrics")
    return Exposition(text)


def documented():
    """Name -> (type, labels) of every row of docs/METRICS.md."""
    row = re.compile(r"\| `([a-z_]+)` \| (counter|gauge|histogram) \| ([a-z_, ]*)\|")
    rows = [row.match(line) for line in METRICS_PAGE.read_text(encoding="utf-8").splitlines()]
    return {m[1]: (m[2], {label.strip() for label in m[3].split(",")} - {""}) for m in rows if m}


def consume_some(bootstrap, group, topic, count):
    """A stock consumer that reads `count` records and commits; what it committed, by partition."""
    import confluent_kafka
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 0,
                                         "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([topic])
    read, deadline = 0, time.monotonic() + 20
    while read < count and time.monotonic() < deadline:
        for message in consumer.consume(min(100, count - read), 0.2):
            if message.error() is None:
                read += 1
    committed = consumer.commit(asynchronous=False)
    consumer.close()
    check_equal(read, count, "consumed")
    return {place.partition: place.offset for place in committed if place.offset > 0}


@test(timeout=90)
def every_metric_is_documented_and_every_documented_one_is_served(context):
    """Three nodes under a stock client's load; every line strictly read, values that must come out exactly."""
    try:
        import confluent_kafka
    except ImportError:
        raise Skip("python3-confluent-kafka is not installed") from None
    began = time.time()
    cluster = Cluster(context, tuning="[admin]\nlisten = '127.0.0.1:0'\n" + TUNING +
                      "[tuning.consumer_groups]\ninitial_rebalance_delay_ms = 0\n").start()
    ports = [admin_port(node) for node in cluster.nodes]
    cluster.create_topic("load", PARTITIONS, {"dedup.window.ms": "3600000"})
    before = sum(scrape(port).total("esc_produced_records_total") for port in ports)
    producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True,
                                         "linger.ms": 5, "log_level": 0})
    stored = [0] * PARTITIONS
    for number in range(RECORDS):
        # Every tenth event is the one before it, sent again.
        again = number % 10 == 9
        key = number - 1 if again else number
        producer.produce("load", b"x" * 100, partition=key % PARTITIONS, headers={"event-id": str(key)})
        stored[key % PARTITIONS] += 0 if again else 1
    check_equal(producer.flush(20), 0, "records without an answer")
    committed = consume_some(cluster.bootstrap, "readers", "load", 1000)
    behind = sum(stored[partition] - offset for partition, offset in committed.items())

    def lag_known():
        return sum(scrape(port).total("esc_consumer_group_lag_events", group="readers") for port in ports) == behind

    check(behind > 0, f"nothing is left to consume: {committed}")
    eventually(lag_known, 25, 0.2, f"the group is {behind} records behind")
    pages = [scrape(port) for port in ports]
    def total(name, **labels):
        return sum(page.total(name, **labels) for page in pages)

    check_equal(total("esc_produced_records_total") - before, sum(stored), "records produced")
    check_equal(total("esc_dedup_hits_total"), RECORDS // 10, "dedup hits")
    check_equal(total("esc_dedup_misses_total"), sum(stored), "dedup misses")
    check_equal(total("esc_dedup_window_ids"), 3 * sum(stored), "ids in the windows of three replicas")
    check_equal(total("esc_raft_leader"), cluster.groups, "leaders")
    check_equal(len({tuple(page.values("esc_raft_term")) for page in pages}), 1, "terms differ between nodes")
    check(total("esc_offset_commits_total") >= 1 and total("esc_consumer_group_rebalances_total") >= 1, "group counters")
    check(total("esc_produce_latency_seconds_count") >= total("esc_produced_batches_total") / PARTITIONS, "latency count")
    wanted = documented()
    for node, page in zip(cluster.nodes, pages):
        check_equal(set(page.families), set(wanted) & set(page.families), "served, but not in docs/METRICS.md")
        for name, family in page.families.items():
            check_equal(family.type, wanted[name][0], f"type of {name}")
            if family.samples:
                check_equal(family.label_names(), wanted[name][1], f"labels of {name}")
        check(abs(page.total("process_open_fds") - len(os.listdir(f"/proc/{node.pid}/fd"))) < 20, "process_open_fds")
        check(began - 2 <= page.total("process_start_time_seconds") <= time.time() + 2, "process_start_time_seconds")
        check(abs(page.total("process_resident_memory_bytes") / 2**20 - node.rss_mb()) < 50, "process_resident_memory_bytes")
        check(0 < page.total("process_cpu_seconds_total") < 60, "process_cpu_seconds_total")
        check_equal(page.total("esc_build_info"), 1, "esc_build_info")
    served = {name for page in pages for name, family in page.families.items() if family.samples}
    check_equal(set(wanted) - served, set(), "in docs/METRICS.md, but not served")
    cluster.stop_all()


@test(timeout=60)
def ready_when_clients_are_taken_and_not_before(context):
    """One node of three lives, but nobody may be sent to it; with a second one both may."""
    cluster = Cluster(context)
    ports = free_ports(3)
    for node, port in zip(cluster.nodes, ports):
        node.config.write_text(node.config.read_text() + f"[admin]\nlisten = '127.0.0.1:{port}'\n")
    first, second = cluster[1], cluster[2]
    first.spawn()

    def lives():
        try:
            return get(ports[0], "/livez")[0] == 200
        except OSError:
            return False

    eventually(lives, 10, 0.02, "the node lives")
    time.sleep(0.3)
    check_equal(get(ports[0], "/readyz"), (503, "application/json", '{"status":"starting"}\n'), "alone")
    check_equal(get(ports[0], "/livez"), (200, "application/json", '{"status":"alive"}\n'), "alone")
    second.spawn()
    third = cluster[3].spawn()
    for node, port in zip(cluster.nodes, ports):
        node.wait_ready()
        eventually(lambda port=port: get(port, "/readyz")[0] == 200, 5, 0.02, "ready")
        check_equal(get(port, "/readyz")[2], '{"status":"ready"}\n', "ready")
    third.kill()
    second.kill()
    check_equal(get(ports[0], "/readyz")[0], 200, "clients may still ask it where to go")
    check_equal(get(ports[0], "/healthz")[0], 404, "another page")
    check("/readyz" in get(ports[0], "/healthz")[2], "the pages there are")


@test()
def sigterm_ends_the_pages_too_whatever_their_clients_do(context):
    port = free_ports(1)[0]
    server = context.start("--admin", f"127.0.0.1:{port}")
    check_equal(admin_port(server), port, "port in the ready line")
    idle = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    idle.request("HEAD", "/metrics")
    answer = idle.getresponse()
    check_equal((answer.status, answer.read()), (200, b""), "HEAD")
    check(int(answer.headers["Content-Length"]) > 1000, "the length that GET would have")
    half = socket.create_connection(("127.0.0.1", port), timeout=5)
    half.sendall(b"GET /metr")
    began = time.monotonic()
    check_equal(server.stop(), 0, "exit code")
    check(time.monotonic() - began < 5, "the stop took long")
    check_equal(half.recv(100), b"", "the connection is closed")
    server.start("--admin", f"127.0.0.1:{port}")  # the same port at once
    server.kill()
    server.start("--admin", f"127.0.0.1:{port}")  # and after a crash
    eventually(lambda: get(port, "/readyz")[0] == 200, 5, 0.02, "ready again")


@test()
def an_admin_address_that_cannot_be_had_is_refused_by_name(context):
    data = str(context.dir / "data")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, errors = run_to_end(context.escd, "--data", data, "--kafka", "127.0.0.1:0", "--admin", address)
        check_equal(code, 1, "exit code")
        for word in ("admin.listen", address, "choose another port", "switches these pages off"):
            check(word in errors, f"{word!r} is not in: {errors}")
    code, _, errors = run_to_end(context.escd, "--data", data, "--kafka", "127.0.0.1:9092", "--admin", "127.0.0.1:9092")
    check(code == 2 and "admin.listen and kafka.listen" in errors, errors)
    code, _, errors = run_to_end(context.escd, "--data", data, "--admin", "9644")
    check(code == 2 and "--admin (admin.listen)" in errors, errors)
    code, out, _ = run_to_end(context.escd, "--data", data, "--admin", "[::1]:9644", "--print-config")
    check(code == 0 and '[admin]' in out and 'listen = "[::1]:9644"' in out, out[-600:])
    server = context.start()
    check(server.wait_log(" ready .* admin=off "), "off unless asked for: " + server.log_tail())


@test()
def producers_do_not_notice_scrapers_that_misbehave(context):
    """64 readers that take nothing, scraped again and again meanwhile: every produce request is answered at once."""
    server = context.start("--admin", "127.0.0.1:0")
    port = admin_port(server)
    rude = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(40)]
    for one in rude:
        one.sendall(b"GET /metrics HTTP/1.1\r\nHost: n\r\n\r\n" * 50)
    slowest, rounds, deadline = 0.0, 0, time.monotonic() + 3
    with RawClient(server.port) as client:
        client.create_topic("t")
        while time.monotonic() < deadline:
            began = time.monotonic()
            check_equal(client.produce("t", 0, batch_of([b"x"] * 10))["error_code"], 0, "produce")
            slowest = max(slowest, time.monotonic() - began)
            scrape(port)
            rounds += 1
    context.note(f"{rounds} scrapes and produce requests, the slowest of these took {slowest * 1000:.1f} ms")
    check(rounds > 20, f"only {rounds} scrapes")
    check(slowest < 1, f"a produce request took {slowest:.2f} s")
    check_equal(scrape(port).total("esc_produced_records_total"), rounds * 10, "records")
