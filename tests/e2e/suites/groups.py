"""Consumer groups: stock clients share partitions, commit, come and go, and lose their coordinator.

Invariants: what a group committed is where the next consumer begins; each record of a committed range was given to
somebody; a committed offset never goes back; one owner per partition and generation.
"""

import itertools
import json
import os
import random
import shutil
import subprocess
import threading
import time
from pathlib import Path

from harness.cases import check, check_equal, eventually, test
from harness.cluster import TUNING, Cluster
from harness.protocol import ProtocolError, RawClient
from harness.server import run_to_end
from suites.clients import new_topic, node_client

QUICK = ["--set", "tuning.consumer_groups.initial_rebalance_delay_ms=100ms"]
QUICK_TUNING = TUNING + "[tuning.consumer_groups]\ninitial_rebalance_delay_ms = 100\n"
COOPERATIVE = {"partition.assignment.strategy": "cooperative-sticky"}
E2E = Path(__file__).resolve().parent.parent
MOVING = (14, 15, 16)  # coordinator is loading, not available, elsewhere


class Member:
    """A confluent_kafka consumer in a thread of its own, which notes what it got and owned."""

    def __init__(self, bootstrap, group, topics, commit=True, seen=(), **settings):
        import confluent_kafka as ck
        self.ck = ck
        self.received, self.owned, self.errors = list(seen), set(), []
        self.commit, self.stopping = commit, False
        self.consumer = ck.Consumer({
            "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
            "enable.auto.commit": False, "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
            "fetch.wait.max.ms": 100, "topic.metadata.refresh.interval.ms": 1000, "reconnect.backoff.max.ms": 500,
            **settings})
        self.cooperative = settings.get("partition.assignment.strategy") == "cooperative-sticky"
        self.consumer.subscribe(topics, on_assign=self._assigned, on_revoke=self._revoked)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _assigned(self, consumer, partitions):
        names = {(p.topic, p.partition) for p in partitions}
        self.owned |= names
        (consumer.incremental_assign if self.cooperative else consumer.assign)(partitions)

    def _revoked(self, consumer, partitions):
        self.owned -= {(p.topic, p.partition) for p in partitions}
        (consumer.incremental_unassign(partitions) if self.cooperative else consumer.unassign())

    def _run(self):
        while not self.stopping:
            message = self.consumer.poll(0.05)
            if message is None:
                continue
            if message.error():
                self.errors.append(str(message.error()))
                continue
            self.received.append((message.topic(), message.partition(), message.offset(), message.value()))
            if self.commit:
                try:
                    self.consumer.commit(message=message, asynchronous=True)
                except self.ck.KafkaException as error:
                    self.errors.append(str(error))

    def commit_all(self):
        """Where it is, as far as it is still a member."""
        try:
            self.consumer.commit(asynchronous=False)
        except self.ck.KafkaException as error:
            self.errors.append(str(error))

    def stop(self):
        self.stopping = True
        self.thread.join(20)
        check(not self.thread.is_alive(), "the consumer's thread ends")
        if self.commit:
            self.commit_all()
        self.consumer.close()


def produce(bootstrap, topic, values, partition=None):
    import confluent_kafka as ck
    producer = ck.Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 1})
    for number, value in enumerate(values):
        producer.produce(topic, value, partition=number % 4 if partition is None else partition)
    check_equal(producer.flush(30), 0, "records not delivered")


def values(first, count):
    return [b"%06d" % n for n in range(first, first + count)]


def got(*members):
    return {value for member in members for _, _, _, value in member.received}


@test(timeout=60)
def a_group_consumes_commits_and_goes_on_after_a_restart(context):
    server = context.start(*QUICK)
    new_topic(server, "t", 4)
    produce(server.bootstrap, "t", values(0, 400))
    first = Member(server.bootstrap, "g", ["t"])
    eventually(lambda: len(got(first)) == 400, 20, what="the first consumer has everything")
    first.stop()
    server.stop()
    server.start(*QUICK)
    produce(server.bootstrap, "t", values(400, 100))
    second = Member(server.bootstrap, "g", ["t"])
    eventually(lambda: len(got(second)) >= 100, 20, what="the second consumer has the rest")
    time.sleep(0.3)
    check_equal(got(second), set(values(400, 100)), "what was not committed before")
    second.stop()


# ---- stock clients, each in processes of its own

class Process:
    """A member that prints 'partition offset value' a line."""

    def __init__(self, context, name, command, env=None):
        self.path = context.dir / f"{name}.out"
        self.log = context.dir / f"{name}.err"
        self.process = subprocess.Popen(command, stdout=self.path.open("wb"), stderr=self.log.open("wb"), env=env)
        context.defer(self.kill)

    def lines(self):
        out = []
        for line in self.path.read_bytes().split(b"\n")[:-1]:
            words = line.split(b" ", 2)
            if len(words) == 3 and words[0].isdigit():
                out.append((int(words[0]), int(words[1]), words[2]))
        return out

    def values(self):
        return {value for _, _, value in self.lines()}

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.path.name}: does not end; {self.log.read_text(errors='replace')[-300:]}") from None

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def python_member(client):
    def command(context, bootstrap, group, topic):
        __import__({"confluent": "confluent_kafka", "python": "kafka"}[client])
        return ["/usr/bin/python3", str(E2E / "harness" / "group_member.py"), client, bootstrap, group, topic]
    return command


def kcat_member(context, bootstrap, group, topic):
    if shutil.which("kcat") is None:
        context.skip("kcat is not installed")
    settings = ["auto.offset.reset=earliest", "session.timeout.ms=6000", "heartbeat.interval.ms=500",
                "auto.commit.interval.ms=200", "topic.metadata.refresh.interval.ms=1000", "fetch.wait.max.ms=100"]
    return ["kcat", "-b", bootstrap, "-u", "-q", "-f", "%p %o %s\\n", *(x for s in settings for x in ("-X", s)),
            "-G", group, topic]


def kafkajs_member(context, bootstrap, group, topic):
    node_client(context)
    return ["node", str(E2E / "node" / "client.js"), "group", bootstrap, topic, group]


def coordinator(cluster, group):
    """Number of the node that coordinates the group."""
    def ask(client):
        answer = client.call("FindCoordinator", 4, {"coordinator_keys": [group]})["coordinators"][0]
        return answer["node_id"] if answer["error_code"] == 0 else None
    return cluster.ask(ask)


def call_coordinator(cluster, group, function, timeout=20):
    """function(client) at the coordinator, again while that moves; function returns None to be asked again."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        node = cluster[coordinator(cluster, group)]
        try:
            with node.connect(3) as client:
                value = function(client)
                if value is not None:
                    return value
        except (OSError, ProtocolError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"group {group} has no coordinator in {timeout} s")


def ask_committed(client, group, topic, partitions):
    """Offset by partition, -1 without one; None while the coordinator moves."""
    answer = client.call("OffsetFetch", 7, {"group_id": group, "topics": [
        {"name": topic, "partitions": list(range(partitions))}]})
    if answer["error_code"] in MOVING:
        return None
    check_equal(answer["error_code"], 0, "OffsetFetch")
    return {p["index"]: p["offset"] for p in answer["topics"][0]["partitions"]}


def committed(cluster, group, topic, partitions):
    return call_coordinator(cluster, group, lambda client: ask_committed(client, group, topic, partitions))


def check_committed(server, members, before, partitions):
    """No committed offset went back since `before`, and what it covers was delivered; returns the offsets."""
    with RawClient(server.port) as client:
        now = ask_committed(client, "g", "wide", partitions)
    delivered = {(partition, offset) for m in members for _, partition, offset, _ in m.received}
    for partition, offset in now.items():
        check(offset >= before.get(partition, -1), f"partition {partition} went back from {before.get(partition)} to {offset}")
        missing = [at for at in range(offset) if (partition, at) not in delivered]
        check(not missing, f"partition {partition} is committed up to {offset}, but {missing[:5]} were given to nobody")
    return now


def generation(context, cluster, group):
    """As esctl tells it; the state and the number of members beside it."""
    code, out, err = run_to_end(context.esctl, "--bootstrap", cluster.bootstrap, "--output", "json", "group",
                                "describe", group)
    check_equal(code, 0, f"esctl group describe: {err}")
    told = json.loads(out)
    return told["generation"], told["state"], len(told["members"])


def one_client(context, who, member, send=None, generations=1):
    """Produce, consume in a group, commit, a second member, the coordinator killed, the end."""
    send = send or (lambda bootstrap, first, count: produce(bootstrap, "t", values(first, count)))
    cluster = Cluster(context, tuning=QUICK_TUNING).start()
    cluster.create_topic("t", 4)
    send(cluster.bootstrap, 0, 200)
    first = Process(context, "first", member(context, cluster.bootstrap, "g", "t"))
    eventually(lambda: len(first.values()) >= 200, 25, what=f"{who}: the first member has everything")
    second = Process(context, "second", member(context, cluster.bootstrap, "g", "t"))
    stable = lambda count: eventually(  # noqa: E731
        lambda: (lambda told: told if told[1:] == ("Stable", count) else None)(generation(context, cluster, "g")), 20,
        what=f"{who}: a stable group of {count}")
    before = stable(2)[0]
    send(cluster.bootstrap, 200, 200)
    eventually(lambda: first.values() | second.values() >= set(values(0, 400)), 25, what=f"{who}: both have all")
    check(second.values(), f"{who}: the second member got nothing")
    floor = committed(cluster, "g", "t", 4)
    victim = cluster[coordinator(cluster, "g")]
    victim.kill()
    send(cluster.bootstrap, 400, 100)
    eventually(lambda: first.values() | second.values() >= set(values(0, 500)), 30, what=f"{who}: consumption goes on")
    told = stable(2)
    check(told[0] - before <= generations, f"{who}: {told[0] - before} rebalances for one failover")
    context.note(f"{who}: {told[0] - before} new generations by the coordinator's death")
    ends = {p: cluster.end_offset("t", p) for p in range(4)}
    # Commits go on with the new coordinator. A member that is stopped while it still looks for it cannot commit.
    after = eventually(lambda: (lambda c: c if c == ends else None)(committed(cluster, "g", "t", 4)), 20,
                       what=f"{who}: everything is committed")
    victim.start()
    first.stop()
    second.stop()
    eventually(lambda: committed(cluster, "g", "t", 4) == ends, 10, what=f"{who}: still so once the members are gone")
    check(all(after[p] >= floor[p] for p in floor), f"{who}: offsets went back from {floor} to {after}")


@test(timeout=120)
def confluent_kafka_survives_its_coordinator(context):
    one_client(context, "confluent_kafka", python_member("confluent"))


@test(timeout=120)
def kafka_python_survives_its_coordinator(context):
    one_client(context, "kafka-python", python_member("python"))


@test(timeout=120)
def kcat_survives_its_coordinator(context):
    one_client(context, "kcat", kcat_member)


@test(timeout=120)
def kafkajs_survives_its_coordinator(context):
    # Each of the two members starts anew, see client.js; usually at once.
    one_client(context, "kafkajs", kafkajs_member, generations=2)


@test(timeout=120)
def platformatic_kafka_survives_its_coordinator(context):
    node_client(context)
    version = run_to_end("node", "--version")[1].strip()
    if tuple(map(int, version[1:].split("."))) < (20, 19, 4):
        context.skip(f"@platformatic/kafka needs Node.js 20.19.4, this is {version}")
    script, instances = ["node", str(E2E / "node" / "platformatic.mjs")], itertools.count(1)
    # Its processes give up and are started again, see platformatic.mjs; as static members that costs no rebalance.
    one_client(context, "@platformatic/kafka",
               lambda _, bootstrap, group, topic: [*script, "group", bootstrap, topic, group, f"member-{next(instances)}"],
               own_producer(script), generations=0)


# ---- clients that are fetched and built first, once per build directory

def tool(context, name):
    return shutil.which(name) or context.skip(f"{name} is not installed")


def prepare(context, name, command, cwd, env=None):
    """Runs a step that needs a registry; its failure is a skip with the last line of what it said."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=400, env={**os.environ, **(env or {})})
    if done.returncode != 0:
        last = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
        context.skip(f"{name} cannot be had: {last[-1][-200:]}")


def java_client(context, version):
    jars = context.build_dir / "clients" / f"kafka-clients-{version}"
    source, compiled = E2E / "java" / "Client.java", jars / "Client.class"
    if not compiled.exists() or compiled.stat().st_mtime < source.stat().st_mtime:
        tool(context, "java")
        prepare(context, f"kafka-clients {version} (Maven Central)",
                [tool(context, "mvn"), "-q", "-B", "-f", E2E / "java" / "pom.xml", "dependency:copy-dependencies",
                 f"-Dkafka.version={version}", f"-DoutputDirectory={jars}"], context.dir)
        prepare(context, "the Java test client", [tool(context, "javac"), "-cp", f"{jars}/*", "-d", jars,
                                                  source], context.dir)
    return [tool(context, "java"), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx128m", "-cp", f"{jars}/*:{jars}", "Client"]


def go_client(context):
    program = context.build_dir / "clients" / "franz-go"
    if not program.exists():
        prepare(context, "franz-go (Go module proxy)", [tool(context, "go"), "build", "-o", program, "."], E2E / "go")
    return [str(program)]


def own_producer(client):
    """Produces with the same client, whose default is an idempotent producer."""
    def send(bootstrap, first, count):
        code, out, err = run_to_end(client[0], *client[1:], "produce", bootstrap, "t", str(first), str(count), timeout=60)
        check_equal((code, out.strip()), (0, str(count)), f"producing: {err[-300:]}")
    return send


def default_client(context, who, client):
    one_client(context, who, lambda _, bootstrap, group, topic: [*client, "group", bootstrap, topic, group],
               own_producer(client))


@test(timeout=500)
def the_java_client_3_with_its_defaults_survives_its_coordinator(context):
    default_client(context, "Java client 3.9", java_client(context, "3.9.1"))


@test(timeout=500)
def the_java_client_4_with_its_defaults_survives_its_coordinator(context):
    default_client(context, "Java client 4.0", java_client(context, "4.0.0"))


@test(timeout=500)
def franz_go_with_its_defaults_survives_its_coordinator(context):
    default_client(context, "franz-go", go_client(context))


# ---- many members

@test(timeout=120, long_timeout=600)
def twenty_members_come_and_go_on_two_hundred_partitions(context):
    partitions, rounds = (200, 40) if context.long else (100, 5)
    server = context.start(*QUICK)
    new_topic(server, "wide", partitions)
    rng = random.Random(7)
    members = [Member(server.bootstrap, "g", ["wide"], commit=False, **COOPERATIVE) for _ in range(20 if context.long else 8)]
    sent, slowest, told = 0, 0.0, {}
    for _ in range(rounds):
        batch = values(sent, 300)
        produce(server.bootstrap, "wide", batch, partition=-1)
        sent += len(batch)
        leaver = members.pop(rng.randrange(len(members)))
        leaver.commit_all()
        leaver.stop()
        members.append(Member(server.bootstrap, "g", ["wide"], commit=False, seen=leaver.received, **COOPERATIVE))
        begun = time.monotonic()
        eventually(lambda: sum(len(m.owned) for m in members) == partitions and all(m.owned for m in members), 30,
                   what="every partition is owned once, and everybody has some")
        slowest = max(slowest, time.monotonic() - begun)
        told = check_committed(server, members, told, partitions)
    everything = set(values(0, sent))
    eventually(lambda: got(*members) >= everything, 60, what="every record is delivered to somebody")
    context.note(f"{len(members)} members, {partitions} partitions, {rounds} changes: settled within {slowest:.1f} s")
    owned = [p for m in members for p in m.owned]
    check_equal(len(owned), len(set(owned)), "partitions with one owner")
    for member in members:
        member.commit_all()
        member.stop()
    told = check_committed(server, members, told, partitions)
    check_equal(sum(max(0, offset) for offset in told.values()), sent, "records that are committed")
    with RawClient(server.port) as client:
        told = client.call("DescribeGroups", 4, {"groups": ["g"]})["groups"][0]
        check_equal((told["error_code"], told["group_state"]), (0, "Empty"), "the group afterwards")


# ---- the wire

@test(timeout=60)
def every_refusal_has_its_code(context):
    server = context.start(*QUICK)
    new_topic(server, "t", 2)
    protocols = [{"name": "range", "metadata": b"\0\0\0\0\0\1\0\1t\xff\xff\xff\xff"}]
    with RawClient(server.port) as client:
        def join(group="g", member="", version=5, **more):
            body = {"group_id": group, "session_timeout_ms": 10000, "rebalance_timeout_ms": 10000, "member_id": member,
                    "protocol_type": "consumer", "protocols": protocols, **more}
            return client.call("JoinGroup", version, body)

        def sync(generation_id, member, assignments=(), **more):
            return client.call("SyncGroup", 3, {"group_id": "g", "generation_id": generation_id, "member_id": member,
                                                "assignments": list(assignments), **more})["error_code"]

        def heartbeat(generation_id, member, **more):
            return client.call("Heartbeat", 3, {"group_id": "g", "generation_id": generation_id, "member_id": member,
                                                **more})["error_code"]

        def commit(generation_id, member, topic="t", partition=0, metadata="", group="g"):
            answer = client.call("OffsetCommit", 7, {
                "group_id": group, "generation_id": generation_id, "member_id": member, "topics": [
                    {"name": topic, "partitions": [{"index": partition, "offset": 5, "leader_epoch": 0,
                                                    "metadata": metadata}]}]})
            return answer["topics"][0]["partitions"][0]["error_code"]

        first = join()
        check_equal(first["error_code"], 79, "a new member is given its id first")
        member = first["member_id"]
        check_equal(join(group="")["error_code"], 24, "an empty group id")
        check_equal(join(session_timeout_ms=1000)["error_code"], 26, "a short session timeout")
        check_equal(join(member="stranger")["error_code"], 25, "an unknown member")
        joined = join(member=member)
        check_equal((joined["error_code"], joined["generation_id"], joined["leader"]), (0, 1, member), "joined")
        check_equal(join(protocols=[{"name": "sticky", "metadata": b""}])["error_code"], 23, "no common protocol")
        check_equal(commit(1, member), 27, "a commit before the assignment")
        check_equal(sync(2, member), 22, "another generation")
        check_equal(sync(1, "stranger"), 25, "sync of an unknown member")
        check_equal(sync(1, member, [{"member_id": member, "assignment": b"all"}]), 0, "sync")
        check_equal((heartbeat(1, member), heartbeat(0, member), heartbeat(1, "stranger")), (0, 22, 25), "heartbeats")
        check_equal((commit(1, member), commit(0, member), commit(-1, "")), (0, 22, 25), "commits")
        check_equal(commit(1, member, metadata="x" * 4096), 0, "metadata of 4096 bytes")
        check_equal(commit(1, member, metadata="x" * 4097), 12, "metadata of 4097 bytes")
        check_equal((commit(1, member, topic="none"), commit(1, member, partition=9)), (3, 3), "unknown partitions")
        static = {"group_instance_id": "one", "version": 5}
        check_equal(client.call("DeleteGroups", 1, {"groups_names": ["g", "none", ""]})["results"], [
            {"group_id": "g", "error_code": 68}, {"group_id": "none", "error_code": 69},
            {"group_id": "", "error_code": 24}], "deleting groups")
        deleted = client.call("OffsetDelete", 0, {"group_id": "g", "topics": [
            {"name": "t", "partitions": [{"index": 0}]}]})
        check_equal(deleted["topics"][0]["partitions"][0]["error_code"], 86, "offsets of a topic that members read")
        told = client.call("DescribeGroups", 5, {"groups": ["g", "none"]})["groups"]
        check_equal([(g["error_code"], g["group_state"], len(g["members"])) for g in told],
                    [(0, "Stable", 1), (0, "Dead", 0)], "described")
        check_equal(told[0]["members"][0]["member_assignment"], b"all", "the assignment as described")
        check_equal(told[0]["members"][0]["client_host"], "/127.0.0.1", "the member's host")
        listed = client.call("ListGroups", 4, {"states_filter": ["Stable"]})["groups"]
        check_equal([(g["group_id"], g["group_state"]) for g in listed], [("g", "Stable")], "listed")
        check_equal(client.call("ListGroups", 4, {"states_filter": ["Empty"]})["groups"], [], "filtered")
        left = client.call("LeaveGroup", 3, {"group_id": "g", "members": [{"member_id": member},
                                                                         {"member_id": "stranger"}]})
        check_equal([m["error_code"] for m in left["members"]], [0, 25], "leaving")
        one = join(group="s", **static)
        check_equal(one["error_code"], 0, "a static member joins at once")
        two = join(group="s", **static)
        check_equal(two["error_code"], 0, "it comes back")
        check_equal(join(group="s", member=one["member_id"], **static)["error_code"], 82, "its old self is fenced")
        found = client.call("FindCoordinator", 4, {"key_type": 1, "coordinator_keys": ["tx"]})["coordinators"][0]
        check_equal(found["error_code"], 53, "transactions are refused")
        check("transactions are not supported" in found["error_message"], f"said {found['error_message']}")
        check_equal(client.call("OffsetDelete", 0, {"group_id": "g", "topics": [
            {"name": "t", "partitions": [{"index": 0}]}]})["error_code"], 0, "offsets of an empty group are deleted")
        fetched = client.call("OffsetFetch", 8, {"groups": [{"group_id": "g", "topics": None}]})["groups"][0]
        check_equal((fetched["error_code"], fetched["topics"]), (0, []), "nothing is committed any more")
        check_equal(client.call("DeleteGroups", 1, {"groups_names": ["g"]})["results"][0]["error_code"], 0, "deleted")


@test(timeout=60)
def only_the_coordinator_answers_for_a_group(context):
    cluster = Cluster(context, tuning=QUICK_TUNING).start()
    cluster.create_topic("t", 1)

    def knows_topic(node):
        with node.connect() as client:
            return client.metadata(["t"])["topics"][0]["error_code"] == 0

    eventually(lambda: all(knows_topic(node) for node in cluster.nodes), 10, what="every node knows the topic")
    for group in ("a", "b", "c", "d"):
        home = eventually(lambda name=group: coordinator(cluster, name), 10, what=f"a coordinator of {group}")
        for node in cluster.nodes:
            with node.connect() as client:
                heartbeat = client.call("Heartbeat", 3, {"group_id": group, "generation_id": 1, "member_id": "m"})
                commit = client.call("OffsetCommit", 7, {"group_id": group, "generation_id": -1, "member_id": "", "topics": [
                    {"name": "t", "partitions": [{"index": 0, "offset": 5, "leader_epoch": -1, "metadata": ""}]}]})
                fetched = client.call("OffsetFetch", 7, {"group_id": group, "topics": None})
                listed = [g["group_id"] for g in client.call("ListGroups", 4)["groups"]]
            codes = (heartbeat["error_code"], commit["topics"][0]["partitions"][0]["error_code"], fetched["error_code"])
            check_equal(codes, (25, 0, 0) if node.number == home else (16, 16, 16), f"group {group} at node {node.number}")
            check_equal(group in listed, node.number == home, f"group {group} listed by node {node.number}")


@test(timeout=60)
def a_parked_join_outlives_its_connection_and_shutdown_answers_it(context):
    server = context.start("--set", "tuning.consumer_groups.initial_rebalance_delay_ms=5s")
    body = {"group_id": "g", "session_timeout_ms": 6000, "rebalance_timeout_ms": 6000, "member_id": "",
            "protocol_type": "consumer", "protocols": [{"name": "range", "metadata": b""}]}
    with RawClient(server.port) as client:
        client.send("JoinGroup", 3, body)
        time.sleep(0.3)
    with RawClient(server.port, 20) as client:
        client.send("JoinGroup", 3, body)
        time.sleep(0.3)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        check_equal(client.receive()["error_code"], 16, "the answer to a parked join at shutdown")
        stopping.join()


@test(timeout=60)
def offsets_of_a_deleted_topic_go_and_its_successor_has_none(context):
    server = context.start(*QUICK)
    new_topic(server, "t", 1)
    with RawClient(server.port) as client:
        commit = {"group_id": "g", "generation_id": -1, "member_id": "", "topics": [
            {"name": "t", "partitions": [{"index": 0, "offset": 7, "leader_epoch": -1, "metadata": "m"}]}]}

        def offset():
            answer = client.call("OffsetFetch", 5, {"group_id": "g", "topics": [{"name": "t", "partitions": [0]}]})
            return answer["topics"][0]["partitions"][0]["offset"]

        check_equal(client.call("OffsetCommit", 6, commit)["topics"][0]["partitions"][0]["error_code"], 0, "commit")
        check_equal(offset(), 7, "committed")
        server.kill()
    server.start(*QUICK)
    with RawClient(server.port) as client:
        check_equal(client.call("OffsetFetch", 5, {"group_id": "g", "topics": None})["topics"][0]["partitions"][0]["offset"],
                    7, "committed, after a kill")
        check_equal(client.delete_topic("t")["error_code"], 0, "delete")
        new_topic(server, "t", 1)
        answer = client.call("OffsetFetch", 5, {"group_id": "g", "topics": [{"name": "t", "partitions": [0]}]})
        check_equal(answer["topics"][0]["partitions"][0]["offset"], -1, "the new topic's offset")
        eventually(lambda: not client.call("OffsetFetch", 5, {"group_id": "g", "topics": None})["topics"], 15,
                   what="the old topic's offsets are gone")


# ---- esctl

def esctl(context, server, *args, code=0):
    got_code, out, err = run_to_end(context.esctl, "--bootstrap", server.bootstrap, *args)
    check_equal(got_code, code, f"esctl {' '.join(args)}: {out} {err}")
    return out


@test(timeout=60)
def esctl_lists_describes_measures_and_resets_groups(context):
    server = context.start(*QUICK)
    new_topic(server, "t", 4)
    produce(server.bootstrap, "t", values(0, 40))
    esctl(context, server, "group", "lag", "none", code=3)
    esctl(context, server, "group", "describe", "none", code=3)
    check("No consumer groups" in esctl(context, server, "group", "list"), "an empty list")
    member = Member(server.bootstrap, "g", ["t"])
    eventually(lambda: len(got(member)) == 40, 20, what="everything is consumed")
    told = json.loads(esctl(context, server, "--output", "json", "group", "describe", "g"))
    check_equal((told["state"], told["members"][0]["assignment"]), ("Stable", {"t": [0, 1, 2, 3]}), "described")
    esctl(context, server, "group", "reset", "g", "--topic", "t", "--to", "earliest", "--execute", code=1)
    member.stop()
    lag = lambda: json.loads(esctl(context, server, "--output", "json", "group", "lag", "g"))  # noqa: E731
    told = lag()
    check_equal((told["state"], told["lag_events"], told["lag_ms"]), ("Empty", 0, 0), "nothing is behind")
    produce(server.bootstrap, "t", values(40, 20))
    time.sleep(1.2)
    told = lag()
    check_equal(told["lag_events"], 20, "events behind")
    check(1100 <= told["lag_ms"] <= 15000, f"{told['lag_ms']} ms behind")
    dry = json.loads(esctl(context, server, "--output", "json", "group", "reset", "g", "--topic", "t", "--to", "2"))
    check_equal((dry["executed"], [p["to"] for p in dry["partitions"]], lag()["lag_events"]), (False, [2] * 4, 20), "a dry run")
    esctl(context, server, "group", "reset", "g", "--topic", "t", "--to", "2", "--execute")
    check_equal(lag()["lag_events"], 52, "behind after the reset")
    esctl(context, server, "group", "reset", "g", "--topic", "t", "--partition", "1", "--to", "latest", "--execute")
    check_equal(lag()["lag_events"], 39, "one partition at its end")
    esctl(context, server, "group", "reset", "g", "--topic", "t", "--to", "ms:1", "--execute")
    check_equal(lag()["lag_events"], 60, "everything is younger than 1970")
    esctl(context, server, "group", "reset", "g", "--topic", "none", "--to", "latest", code=3)
    esctl(context, server, "group", "reset", "new", "--topic", "t", "--to", "latest", code=3)
    esctl(context, server, "group", "reset", "new", "--topic", "t", "--to", "latest", "--create", "--execute")
    esctl(context, server, "group", "reset", "g", "--topic", "t", "--to", "yesterday", code=2)
    listed = json.loads(esctl(context, server, "--output", "json", "group", "list"))
    check_equal([(g["group"], g["state"]) for g in listed], [("g", "Empty"), ("new", "Empty")], "listed")
