"""A cluster of real escd processes, a stock producer that loads it, and the judgement of what it acknowledged."""

import hashlib
import os
import signal
import time

from . import records as rec
from .cases import Skip, check, check_equal, eventually
from .protocol import ProtocolError, RawClient
from .server import Escd, free_ports

SECRET = "e2e-cluster-secret-0123456789"
# Small files and quick elections' worth of everything else left as it ships.
TUNING = "[tuning]\ncores = 1\npin = 'off'\n"


class Node(Escd):
    """One node. `prefix` is put before the command, to run it elsewhere (ip netns exec NAME)."""

    def __init__(self, binary, number, directory, host, kafka_port, peer_port, data_dir=None, prefix=()):
        super().__init__(binary, data_dir or directory / f"node-{number}", directory / f"node-{number}.log")
        self.number, self.host, self.port, self.peer_port = number, host, kafka_port, peer_port
        self.prefix, self.config = list(prefix), directory / f"node-{number}.toml"

    @property
    def bootstrap(self):
        return f"{self.host}:{self.port}"

    def command(self, *args):
        return [*self.prefix, self.binary, "--config", str(self.config), "--data", self.data_dir, *args]

    def connect(self, timeout=10.0):
        return RawClient(self.port, timeout, self.host)

    def answers(self, timeout=2.0):
        try:
            with self.connect(timeout) as client:
                return client.call("ApiVersions", 0)["error_code"] == 0
        except (OSError, ProtocolError):
            return False

    def pause(self):
        os.kill(self.pid, signal.SIGSTOP)
        eventually(self.paused, 5, 0.01, f"node {self.number} stops")

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)

    def paused(self):
        with open(f"/proc/{self.pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "T"


class Cluster:
    def __init__(self, context, nodes=3, tuning=TUNING, hosts=None, prefixes=None, data_dirs=None, groups=3):
        self.context, self.groups, self.tuning = context, groups, tuning
        hosts = hosts or ["127.0.0.1"] * nodes
        ports = free_ports(2 * nodes)
        self.nodes = [Node(context.escd, n + 1, context.dir, hosts[n], ports[2 * n], ports[2 * n + 1],
                           (data_dirs or {}).get(n + 1), (prefixes or {}).get(n + 1, ())) for n in range(nodes)]
        context.servers += self.nodes
        for node in self.nodes:
            self.configure(node)

    def configure(self, node, secret=SECRET, cluster_id="e2e"):
        peers = ", ".join(f'{{ id = {n.number}, peer = "{n.host}:{n.peer_port}", kafka = "{n.bootstrap}" }}'
                          for n in self.nodes)
        node.config.write_text(f"groups = {self.groups}\n[node]\nid = {node.number}\n[cluster]\nid = '{cluster_id}'\n"
                               f"secret = '{secret}'\nnodes = [{peers}]\n{self.tuning}")

    def grow(self):
        """Another machine: its configuration names everybody, the others' files stay as they are."""
        ports = free_ports(2)
        node = Node(self.context.escd, len(self.nodes) + 1, self.context.dir, "127.0.0.1", *ports)
        self.nodes.append(node)
        self.context.servers.append(node)
        self.configure(node)
        node.config.write_text(node.config.read_text().replace("[cluster]\n", "[cluster]\njoin = true\n"))
        return node

    def __getitem__(self, number):
        return self.nodes[number - 1]

    @property
    def bootstrap(self):
        return ",".join(n.bootstrap for n in self.nodes)

    def start(self, timeout=30):
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.wait_ready(timeout)
        return self

    def alive(self):
        return [n for n in self.nodes if n.alive()]

    def ask(self, function, timeout=20):
        """function(client) with any node that can answer, again until it does so without an error of transition."""
        deadline, trouble = time.monotonic() + timeout, "no node is alive"
        while time.monotonic() < deadline:
            for node in self.alive():
                try:
                    if node.paused():
                        continue
                    with node.connect(3) as client:
                        value = function(client)
                        if value is not None:
                            return value
                        trouble = f"node {node.number} has no answer yet"
                except (OSError, ProtocolError) as error:
                    trouble = f"node {node.number}: {error}"
            time.sleep(0.03)
        raise AssertionError(f"the cluster gave no answer in {timeout} s: {trouble}")

    def create_topic(self, name, partitions, configs=None, timeout=20):
        """Through whoever is the controller; returns when every partition has a leader."""
        def create(client):
            where = client.metadata(None)
            controller = next((b for b in where["brokers"] if b["node_id"] == where["controller_id"]), None)
            if controller is None:
                return None
            with RawClient(controller["port"], 10, controller["host"]) as direct:
                code = direct.create_topic(name, partitions, configs, replication=-1)["error_code"]
            check(code in (0, 36, 41, 7, 5), f"create {name}: error {code}")
            return True if code in (0, 36) else None

        self.ask(create, timeout)
        self.leaders(name, timeout)

    def leaders(self, topic, timeout=20, avoid=()):
        """Node numbers by partition, once every partition has a living leader outside `avoid`."""
        def find(client):
            answer = client.metadata([topic])["topics"][0]
            parts = sorted(answer["partitions"], key=lambda p: p["index"])
            found = [p["leader_id"] for p in parts]
            good = answer["error_code"] == 0 and found and all(
                n > 0 and n not in avoid and self[n].alive() for n in found)
            return found if good else None

        return self.ask(find, timeout)

    def call_leader(self, topic, partition, function, timeout=20):
        """function(client) at the partition's leader; again while it returns None."""
        deadline, trouble = time.monotonic() + timeout, ""
        while time.monotonic() < deadline:
            leader = self[self.leaders(topic, timeout)[partition]]
            try:
                with leader.connect(5) as client:
                    value = function(client)
                    if value is not None:
                        return value
                    trouble = f"node {leader.number} has no answer yet"
            except (OSError, ProtocolError) as error:
                trouble = str(error)
            time.sleep(0.03)
        raise AssertionError(f"the leader of {topic}/{partition} gave no answer in {timeout} s: {trouble}")

    def end_offset(self, topic, partition, timeout=20):
        def ask(client):
            answer = client.list_offset(topic, partition, -1)
            return answer["offset"] if answer["error_code"] == 0 else None

        return self.call_leader(topic, partition, ask, timeout)

    def read(self, topic, partition, timeout=40):
        """Every record, from the leader, each checked against its batch's checksum; offsets must be dense."""
        records, deadline = [], time.monotonic() + timeout
        end = self.end_offset(topic, partition)

        def some(client):
            while len(records) < end and time.monotonic() < deadline:
                answer = client.fetch(topic, partition, len(records), partition_max_bytes=1 << 20, max_wait_ms=200)
                if answer["error_code"] != 0:
                    return None
                for record in rec.read_batches(answer["records"]):
                    if record.offset >= len(records):
                        check_equal(record.offset, len(records), f"{topic}/{partition}: offsets not dense")
                        records.append(record)
            return True

        self.call_leader(topic, partition, some, timeout)
        check(len(records) >= end, f"{topic}/{partition}: only {len(records)} of {end} could be read")
        return records

    def produce(self, topic, partition, values, timeout=20):
        """One batch that is acknowledged, wherever the leader is; returns its base offset. May store it twice."""
        def send(client):
            answer = client.produce(topic, partition, rec.batch_of(values), timeout_ms=3000)
            return answer["base_offset"] if answer["error_code"] == 0 else None

        return self.call_leader(topic, partition, send, timeout)

    def stop_all(self):
        """SIGTERM to all at once; every exit code must be 0."""
        running = self.alive()
        time.sleep(0.5)  # followers hear of the last commit with a heartbeat; their files are compared afterwards
        for node in running:
            node.process.terminate()
        for node in running:
            check_equal(node.wait(20), 0, f"exit code of node {node.number} after SIGTERM")

    def check_equal_logs(self, numbers=None):
        """Nodes are stopped: the partitions' files must hold the same bytes on all of them."""
        images = {n.number: _image(n.data_dir) for n in self.nodes if numbers is None or n.number in numbers}
        first, wanted = next(iter(images.items()))
        check(wanted, f"node {first} stored nothing")
        for number, image in images.items():
            for name in sorted(set(image) | set(wanted)):
                check(image.get(name) == wanted.get(name),
                      f"{name} differs: node {first} has {wanted.get(name)}, node {number} has {image.get(name)}")
        return len(wanted)


def _image(data_dir):
    """Partition -> (bytes, hash) of its segment files in the order of their offsets."""
    image = {}
    for root, _, files in sorted(os.walk(data_dir)):
        segments = sorted(f for f in files if f.endswith(".log"))
        if not segments or ".damaged-" in root:  # put aside
            continue
        digest, size = hashlib.sha256(), 0
        for name in segments:
            with open(os.path.join(root, name), "rb") as file:
                data = file.read()
            digest.update(data)
            size += len(data)
        image[os.path.relpath(root, data_dir)] = (size, digest.hexdigest()[:16])
    return image


def value_of(partition, sequence):
    head = f"{partition}:{sequence}:"
    return (head + "abcdefghij" * (sequence * 37 % 40)).encode()


def _producer(bootstrap, ack_path, topic, partitions, rate, settings):
    """Never returns. One line per report: 'A partition sequence offset milliseconds' or 'E partition sequence code'."""
    import confluent_kafka
    out = os.open(ack_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def delivered(error, message):
        sequence = message.value().split(b":", 2)[1].decode()
        if error is None:
            line = f"A {message.partition()} {sequence} {message.offset()} {time.monotonic() * 1000:.1f}\n"
        else:
            line = f"E {message.partition()} {sequence} {error.name()}\n"
        os.write(out, line.encode())

    producer = confluent_kafka.Producer({
        "bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 2, "message.timeout.ms": 60000,
        "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100, "log_level": 0, "retry.backoff.ms": 50,
        "socket.nagle.disable": True, "topic.metadata.refresh.fast.interval.ms": 50, **settings})
    sequences, sent, began = [0] * partitions, 0, time.monotonic()
    while True:
        partition = sent % partitions
        try:
            producer.produce(topic, value_of(partition, sequences[partition]), partition=partition,
                             on_delivery=delivered)
            sequences[partition] += 1
            sent += 1
        except BufferError:
            producer.poll(0.05)
        ahead = sent / rate - (time.monotonic() - began)
        producer.poll(max(0.0, min(ahead, 0.05)) if ahead > 0.005 else 0)
        if ahead < -1:  # the cluster was away: do not catch up in one burst
            sent, began = 0, time.monotonic()


class Load:
    """A stock producer in a process of its own.

    It is not idempotent: a message whose acknowledgement was lost may be stored twice. That holds even without
    retries (the default), since librdkafka repeats what a leader in abdication answered with
    NOT_LEADER_OR_FOLLOWER. First appearances must be in order, except with reorders=True: where a leader is
    deposed alive, later messages may have gone to the new one before the repeat. Always: what was
    acknowledged is at its offset, and no offset is acknowledged twice.
    """

    def __init__(self, cluster, topic="load", partitions=3, rate=1500, retries=False, reorders=False, settings=None,
                 bootstrap=None):
        try:
            import confluent_kafka  # noqa: F401
        except ImportError:
            raise Skip("python3-confluent-kafka is not installed") from None
        self.cluster, self.topic, self.partitions = cluster, topic, partitions
        self.reorders = reorders
        self.path = str(cluster.context.dir / f"acks-{topic}")
        self.acknowledged = [{} for _ in range(partitions)]  # offset -> sequence
        self.times = [[] for _ in range(partitions)]         # milliseconds of each acknowledgement
        self.errors, self.position, self.rest = [], 0, ""
        open(self.path, "w").close()
        cluster.create_topic(topic, partitions)
        more = dict(settings or {})
        more.setdefault("message.send.max.retries", 1000000 if retries else 0)
        if retries:
            more.setdefault("max.in.flight.requests.per.connection", 1)  # else retries change the order
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _producer(bootstrap or cluster.bootstrap, self.path, topic, partitions, rate, more)
            except BaseException as error:  # whoever waits for acknowledgements is told
                with open(self.path, "a", encoding="ascii", errors="replace") as file:
                    file.write(f"X {' '.join(repr(error).split())}\n")
            finally:
                os._exit(1)
        cluster.context.defer(self.stop)
        self.wait_progress(what="the load starts")

    def stop(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
        self.poll()

    def poll(self):
        with open(self.path, encoding="ascii") as file:
            file.seek(self.position)
            text = self.rest + file.read()
            self.position = file.tell()
        lines = text.split("\n")
        self.rest = lines.pop()
        for line in lines:
            check(not line.startswith("X"), f"the producer has ended: {line[2:]}")
            kind, partition, sequence, *more = line.split()
            if kind == "E":
                self.errors.append(more[0])
                continue
            partition = int(partition)
            other = self.acknowledged[partition].setdefault(int(more[0]), int(sequence))
            check_equal(other, int(sequence), f"offset {more[0]} of partition {partition} was acknowledged twice")
            self.times[partition].append(float(more[1]))
        return self.count()

    def count(self):
        return sum(map(len, self.times))

    def wait_progress(self, partitions=None, more=20, timeout=20, what="acknowledgements go on"):
        """Until each of these partitions has had `more` further acknowledgements."""
        self.poll()
        chosen = range(self.partitions) if partitions is None else partitions
        goal = {p: len(self.times[p]) + more for p in chosen}
        deadline = time.monotonic() + timeout
        while any(len(self.times[p]) < goal[p] for p in chosen):
            check(time.monotonic() < deadline,
                  f"{what}: not within {timeout} s ({ {p: more - goal[p] + len(self.times[p]) for p in chosen} }"
                  f" of {more} new ones by partition; errors {sorted(set(self.errors))})")
            time.sleep(0.02)
            self.poll()

    def run(self, seconds):
        time.sleep(seconds)
        self.poll()

    def longest_gap_ms(self, partition, since_ms):
        """Between two acknowledgements, of which the later one came after `since_ms` (time.monotonic)."""
        times = sorted(self.times[partition])
        return max((b - a for a, b in zip(times, times[1:]) if b >= since_ms), default=0.0)

    def verify(self):
        """Everything acknowledged is at its offset; order kept; nothing twice, as far as the client allows."""
        self.poll()
        stored = duplicates = 0
        for partition in range(self.partitions):
            records = self.cluster.read(self.topic, partition)
            sequences, seen, highest = [], set(), -1
            for record in records:
                where, sequence, _ = record.value.split(b":", 2)
                sequence = int(sequence)
                check_equal(int(where), partition, f"offset {record.offset} of partition {partition}: foreign record")
                check_equal(record.value, value_of(partition, sequence), f"partition {partition} offset {record.offset}")
                if sequence <= highest:
                    check(self.reorders or sequence in seen,
                          f"partition {partition} offset {record.offset}: sequence {sequence} after {highest}")
                    duplicates += sequence in seen
                seen.add(sequence)
                highest = max(highest, sequence)
                sequences.append(sequence)
            for offset, sequence in self.acknowledged[partition].items():
                check(offset < len(sequences), f"partition {partition}: acknowledged offset {offset} is lost "
                                               f"(the log ends at {len(sequences)})")
                check_equal(sequences[offset], sequence, f"partition {partition}: acknowledged offset {offset}")
            stored += len(records)
        check(self.count() > 50, f"only {self.count()} acknowledgements: no real load")
        return stored, duplicates

    def finish(self):
        """Ends the load, verifies through clients, stops the nodes, compares their files."""
        self.stop()
        stored, duplicates = self.verify()
        self.cluster.stop_all()
        self.cluster.check_equal_logs()
        self.cluster.context.note(f"{self.count()} acknowledged, {stored} stored, none lost"
                                  + (f", {duplicates} stored twice by retries" if duplicates else "")
                                  + (f", {len(self.errors)} refused or unknown" if self.errors else ""))
