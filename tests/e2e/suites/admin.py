"""Topics that exist are administered with a stock client: configuration, deleting records, ends of epochs."""

import json
import os
import time

from harness import records as rec
from harness.cases import Skip, check, check_equal, eventually, test
from harness.cluster import Cluster
from harness.server import run_to_end
from suites.groups import java_client


def admin_client(cluster):
    try:
        import confluent_kafka.admin
    except ImportError:
        raise Skip("python3-confluent-kafka is not installed") from None
    return confluent_kafka.admin.AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})


def config_of(admin, topic):
    from confluent_kafka.admin import ConfigResource
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    return {k: v.value for k, v in admin.describe_configs([resource])[resource].result(10).items()}


@test(timeout=60)
def confluent_kafka_changes_the_configuration_of_a_topic(context):
    cluster = Cluster(context).start()
    cluster.create_topic("t", 3)
    admin = admin_client(cluster)
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import ConfigResource

    def alter(**configs):
        resource = ConfigResource(ConfigResource.Type.TOPIC, "t")
        for key, value in configs.items():
            resource.set_config(key.replace("_", "."), value)
        admin.alter_configs([resource])[resource].result(10)

    default = config_of(admin, "t")["max.message.bytes"]
    alter(retention_ms="120000", max_message_bytes="2000", message_timestamp_type="LogAppendTime")
    eventually(lambda: config_of(admin, "t")["retention.ms"] == "120000", 5, what="the change is told")
    got = config_of(admin, "t")
    check_equal((got["max.message.bytes"], got["message.timestamp.type"]), ("2000", "LogAppendTime"), "configuration")
    try:
        alter(flush_messages="1")
        check(False, "an unsupported key was accepted")
    except KafkaException as error:
        check("flush.messages" in str(error), f"the refusal does not name the key: {error}")

    def too_large(client):
        code = client.produce("t", 0, rec.batch_of([b"x" * 3000]))["error_code"]
        return code if code != 6 else None

    # The leader of the partition hears of the change a heartbeat later than the controller.
    eventually(lambda: cluster.call_leader("t", 0, too_large) == 10, 5, what="a batch over max.message.bytes is refused with 10")
    offset = cluster.produce("t", 0, [b"small"])
    stamped = cluster.read("t", 0)[offset].timestamp
    check(stamped > 1_600_000_000_000, f"LogAppendTime stamped {stamped}")
    alter(retention_ms="60000")  # replaces everything
    eventually(lambda: config_of(admin, "t")["max.message.bytes"] == default, 5)
    cluster.stop_all()
    cluster.check_equal_logs()


def raw_alter(node, api, topic, configs, validate_only=False):
    """Of one node, in the words of `api`; the error code."""
    version = {"AlterConfigs": 2, "IncrementalAlterConfigs": 1}[api]
    with node.connect() as client:
        answer = client.call(api, version, {"resources": [{"type": 2, "name": topic, "configs": configs}],
                                            "validate_only": validate_only})
    return answer["responses"][0]["error_code"]


def raw_config(node, topic, key):
    with node.connect() as client:
        answer = client.call("DescribeConfigs", 4, {"resources": [{"type": 2, "name": topic, "keys": [key]}],
                                                    "include_synonyms": False, "include_documentation": False})
    return answer["results"][0]["configs"][0]["value"]


@test(timeout=60)
def every_node_takes_changes_of_topics(context):
    cluster = Cluster(context).start()
    cluster.create_topic("t", 3)
    for node in cluster.nodes:
        number = str(node.number)
        change = [{"name": "retention.ms", "operation": 0, "value": number + "0000"}]
        check_equal(raw_alter(node, "IncrementalAlterConfigs", "t", change), 0, f"asked of node {number}")
        check_equal(raw_config(node, "t", "retention.ms"), number + "0000", "there, at once")
        for other in cluster.nodes:
            eventually(lambda: raw_config(other, "t", "retention.ms") == number + "0000", 5, what="the change is everywhere")
        whole = [{"name": "retention.bytes", "value": number + "000"}]
        check_equal(raw_alter(node, "AlterConfigs", "t", whole), 0, f"asked of node {number}")
        check_equal(raw_config(node, "t", "retention.bytes"), number + "000", "there, at once")
        check_equal(raw_config(node, "t", "retention.ms"), "604800000", "which the old request does not name")
        check_equal(raw_alter(node, "IncrementalAlterConfigs", "nowhere", change), 3, "no such topic")
        check_equal(raw_alter(node, "IncrementalAlterConfigs", "t", [{"name": "flush.ms", "operation": 0, "value": "1"}]), 40, "a key")
        check_equal(raw_alter(node, "AlterConfigs", "t", [{"name": "retention.ms", "value": "5"}], True), 0, "validated only")
        check_equal(raw_config(node, "t", "retention.ms"), "604800000", "which was to be validated only")
        name = f"of-{number}"
        with node.connect() as client:
            check_equal(client.create_topic(name, 2, replication=-1)["error_code"], 0, f"created through node {number}")
            check_equal(len(client.metadata([name])["topics"][0]["partitions"]), 2, "partitions")
            check_equal(client.create_topic(name, 2, replication=-1)["error_code"], 36, "created twice")
            check_equal(client.delete_topic(name)["error_code"], 0, f"deleted through node {number}")
    cluster.stop_all()


@test(timeout=60)
def kafka_python_changes_a_configuration_at_whichever_node_it_asks(context):
    try:
        from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
    except ImportError:
        raise Skip("python3-kafka is not installed") from None
    cluster = Cluster(context).start()
    cluster.create_topic("t", 1)
    # It sends to the least loaded node, any of them; error codes of the answer are the caller's to look at.
    admin = KafkaAdminClient(bootstrap_servers=cluster.bootstrap.split(","))
    for value in range(60000, 60012):
        answer = admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "t", {"retention.ms": str(value)})])
        check_equal([resource[0] for resource in answer.resources], [0], "error code")
    for node in cluster.nodes:
        eventually(lambda: raw_config(node, "t", "retention.ms") == "60011", 5, what="the change is everywhere")
    admin.close()
    # The node that leads group 0 dies; whoever is asked finds the next one.
    with cluster[1].connect() as client:
        controller = cluster[client.metadata(None)["controller_id"]]
    controller.kill()
    for node in cluster.alive():
        change = [{"name": "retention.ms", "operation": 0, "value": "70000"}]
        check_equal(raw_alter(node, "IncrementalAlterConfigs", "t", change), 0, "right after the kill")
    controller.spawn()
    controller.wait_ready()
    eventually(lambda: raw_config(controller, "t", "retention.ms") == "70000", 5, what="the change is everywhere")
    cluster.stop_all()


@test(timeout=500)
def the_java_client_administers_a_topic_at_whichever_node_it_asks(context):
    client = java_client(context, "4.0.0")
    cluster = Cluster(context).start()
    cluster.create_topic("t", 2)
    for partition in range(2):
        cluster.produce("t", partition, [b"x"])
    code, out, err = run_to_end(client[0], *client[1:], "alter", cluster.bootstrap, "t", "12", timeout=60)
    check_equal((code, out.splitlines()), (0, ["refused InvalidConfigurationException", "retention.ms 60011", "cleanup.policy compact",
                                               "isr 3", "replicas 6"]), err[-500:])
    cluster.stop_all()


@test(timeout=60)
def deleted_records_are_gone_on_all_nodes_and_after_a_failover(context):
    cluster = Cluster(context).start()
    cluster.create_topic("t", 1)
    for _ in range(10):
        cluster.produce("t", 0, [b"a", b"b"])

    def delete(offset):
        def call(client):
            answer = client.call("DeleteRecords", 2, {"timeout_ms": 3000, "topics": [
                {"name": "t", "partitions": [{"index": 0, "offset": offset}]}]})
            part = answer["topics"][0]["partitions"][0]
            return part if part["error_code"] != 6 else None
        part = cluster.call_leader("t", 0, call)
        return part["error_code"], part["low_watermark"]

    def start(client):
        answer = client.list_offset("t", 0, -2)
        return answer["offset"] if answer["error_code"] == 0 else None

    check_equal(delete(7), (0, 7), "answer")
    check_equal(cluster.call_leader("t", 0, start), 7, "log start")
    check_equal(delete(21), (1, -1), "beyond the end")
    victim = cluster[cluster.leaders("t")[0]]
    victim.kill()
    check_equal(cluster.call_leader("t", 0, start), 7, "log start at the next leader")
    check_equal(delete(-1), (0, 20), "everything")
    victim.spawn()
    victim.wait_ready()
    check_equal(cluster.call_leader("t", 0, start), 20, "log start")
    cluster.stop_all()


@test(timeout=60)
def the_ends_of_leader_epochs_survive_failovers_and_restarts(context):
    cluster = Cluster(context).start()
    cluster.create_topic("t", 1)

    def epoch(client):
        part = client.metadata(["t"])["topics"][0]["partitions"][0]
        return part["leader_epoch"] if part["leader_id"] > 0 else None

    def end(asked):
        def call(client):
            answer = client.call("OffsetForLeaderEpoch", 4, {"replica_id": -1, "topics": [
                {"topic": "t", "partitions": [{"partition": 0, "current_leader_epoch": -1, "leader_epoch": asked}]}]})
            part = answer["topics"][0]["partitions"][0]
            return part if part["error_code"] == 0 else None
        part = cluster.call_leader("t", 0, call)
        return part["leader_epoch"], part["end_offset"]

    cluster.produce("t", 0, [b"1", b"2", b"3"])
    first = cluster.call_leader("t", 0, epoch)
    check_equal(end(first), (first, 3), "while it lasts")
    victim = cluster[cluster.leaders("t")[0]]
    victim.kill()
    cluster.produce("t", 0, [b"4"])
    check_equal(end(first), (first, 3), "at the next leader")
    victim.spawn()
    victim.wait_ready()
    cluster.stop_all()
    for node in cluster.nodes:
        node.spawn()
    for node in cluster.nodes:
        node.wait_ready()
    check_equal(end(first), (first, 3), "after a restart of all")
    check_equal(end(first - 1)[1], 0, "an epoch before the first record")
    check_equal(end(100000), (-1, -1), "an epoch to come")
    cluster.stop_all()


@test(timeout=60)
def too_few_that_follow_are_told_and_refused_by_min_insync_replicas(context):
    cluster = Cluster(context).start()
    cluster.create_topic("all", 1, {"min.insync.replicas": "3"})
    cluster.create_topic("two", 1, {"min.insync.replicas": "2"})

    def produce(topic, acks=-1, wanted=(0,)):
        def call(client):
            code = client.produce(topic, 0, rec.batch_of([b"x"]), acks=acks, timeout_ms=2000)["error_code"]
            return code if code in wanted else None
        return cluster.call_leader(topic, 0, call)

    def replicas(node):
        with node.connect() as client:
            part = client.metadata(["all"])["topics"][0]["partitions"][0]
        check_equal(part["replicas"], [1, 2, 3], "replicas")
        return part["isr"], part["offline"]

    check_equal((produce("all"), produce("two")), (0, 0), "with three nodes")
    for node in cluster.nodes:
        eventually(lambda: replicas(node) == ([1, 2, 3], []), 5, what="all are in sync")
    leaders = {cluster.leaders(t)[0] for t in ("all", "two")}
    victim = next((n for n in cluster.nodes if n.number not in leaders), cluster[1])
    victim.kill()
    produce("all", wanted=(19,))
    others = [n.number for n in cluster.alive()]
    for node in cluster.alive():
        eventually(lambda: replicas(node) == (others, [victim.number]), 5, what="one is out of sync, and offline")
    code, out, err = run_to_end(str(context.esctl), "-b", cluster.bootstrap, "-o", "json", "topic", "describe", "all")
    check_equal(code, 0, f"esctl: {err}")
    shown = json.loads(out)["partitions"][0]
    check_equal((shown["in_sync"], shown["offline"]), (others, [victim.number]), "as esctl shows it")
    check_equal(produce("all", acks=1), 0, "acks=1 asks for no replicas")
    check_equal(produce("two"), 0, "two of three are enough")
    victim.spawn()
    victim.wait_ready()
    produce("all")
    for node in cluster.nodes:
        eventually(lambda: replicas(node) == ([1, 2, 3], []), 5, what="all are in sync again")
    # Followed a moment ago, so the leader appends; the third copy does not come in time.
    victim.pause()
    produce("all", wanted=(20,))
    # Its links are up: only the leader sees it, and tells the others.
    for number in others:
        eventually(lambda: replicas(cluster[number]) == (others, []), 5, what="one is out of sync, but there")
    victim.resume()
    produce("all")
    for node in cluster.nodes:
        eventually(lambda: replicas(node) == ([1, 2, 3], []), 5, what="it follows again")
    cluster.stop_all()


def log_dirs(node, topics, version=4):
    """(topic, partition) -> (directory, bytes) at this node."""
    with node.connect() as client:
        answer = client.call("DescribeLogDirs", version, {"topics": topics})
    check_equal(answer.get("error_code", 0), 0, "of the request")
    check_equal([d["error_code"] for d in answer["results"]], [0] * len(answer["results"]), "of the directories")
    check_equal([d["log_dir"] for d in answer["results"]], [f"group-{n}" for n in range(len(answer["results"]))], "directories")
    return {(t["name"], p["index"]): (d["log_dir"], p["size"])
            for d in answer["results"] for t in d["topics"] for p in t["partitions"]}


def stored(node, directory):
    """Bytes of segments in one of its directories."""
    return sum(os.path.getsize(os.path.join(root, name)) for root, _, names in os.walk(os.path.join(node.data_dir, directory))
               for name in names if name.endswith(".log"))


@test(timeout=60)
def describe_log_dirs_tells_what_lies_in_the_directories_of_each_node(context):
    cluster = Cluster(context).start()
    cluster.create_topic("t", 6)
    for partition in range(6):
        cluster.produce("t", partition, [b"x" * 1000] * (10 * partition + 1))
    for node in cluster.nodes:
        def sizes_are_those_of_the_files():
            told = log_dirs(node, None)
            if sorted(told) != [("t", n) for n in range(6)]:
                return False
            by_directory = {}
            for directory, size in told.values():
                by_directory[directory] = by_directory.get(directory, 0) + size
            return by_directory == {d: stored(node, d) for d in by_directory} and \
                all(size >= 10_000 * partition for (_, partition), (_, size) in told.items())
        # A record is acknowledged before it is in a segment: that is there a moment later.
        eventually(sizes_are_those_of_the_files, 10, what=f"node {node.number} tells what it stores")
        check_equal(sorted(log_dirs(node, [{"name": "t", "partitions": [1, 99]}])), [("t", 1)], "one that is and one that is not")
        for version in (1, 2, 3, 4):
            check_equal(log_dirs(node, [{"name": "nowhere", "partitions": [0]}], version), {}, "a topic that is not")
    cluster.stop_all()


def segments_of(node, topic):
    """Directory -> [(base offset, bytes)] of the partitions' segment files."""
    found = {}
    for root, _, files in sorted(os.walk(node.data_dir)):
        if f"-{topic}-" in os.path.basename(root):
            found[os.path.relpath(root, node.data_dir)] = [
                (int(name[:20]), os.path.getsize(os.path.join(root, name))) for name in sorted(files) if name.endswith(".log")]
    return found


@test(timeout=60)
def segments_of_a_living_topic_end_by_new_rules_alike_on_all_nodes(context):
    cluster = Cluster(context).start()
    cluster.create_topic("t", 1)
    admin = admin_client(cluster)
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import ConfigResource

    def alter(configs):
        resource = ConfigResource(ConfigResource.Type.TOPIC, "t")
        for key, value in configs.items():
            resource.set_config(key, value)
        admin.alter_configs([resource])[resource].result(10)

    def fill(count):
        for _ in range(count):
            cluster.produce("t", 0, [b"x" * 3000])

    fill(20)
    alter({"segment.bytes": "20000"})
    eventually(lambda: config_of(admin, "t")["segment.bytes"] == "20000", 5, what="the change is told")
    for node in cluster.nodes:
        eventually(lambda: raw_config(node, "t", "segment.bytes") == "20000", 5, what="the change is everywhere")
    time.sleep(0.5)  # and followed by the leader of the group
    changed = cluster.produce("t", 0, [b"first by the new rule"])
    fill(15)
    victim = cluster[2]
    victim.kill()
    fill(15)
    victim.spawn()
    victim.wait_ready()
    try:
        from kafka.admin import ConfigResource as Resource, ConfigResourceType, KafkaAdminClient
        python = KafkaAdminClient(bootstrap_servers=cluster.bootstrap.split(","))
        answer = python.alter_configs([Resource(ConfigResourceType.TOPIC, "t", {"segment.ms": "1000", "segment.bytes": "20000"})])
        check_equal([resource[0] for resource in answer.resources], [0], "error code")
        python.close()
    except ImportError:
        alter({"segment.ms": "1000", "segment.bytes": "20000"})
    time.sleep(1.5)
    late = cluster.produce("t", 0, [b"newer by more than a second"])
    for refused in ({"segment.jitter.ms": "1"}, {"segment.bytes": "5"},
                    {"min.compaction.lag.ms": "5000", "max.compaction.lag.ms": "4000"}):
        try:
            alter(refused)
            check(False, f"{refused} was accepted")
        except KafkaException as error:
            check(next(iter(refused)) in str(error), f"the refusal does not name the key: {error}")
    cluster.stop_all()
    cluster.check_equal_logs()
    first = segments_of(cluster[1], "t")
    segments = list(first.values())[0]
    for node in cluster.nodes:
        check_equal(segments_of(node, "t"), first, f"segments of node {node.number}")
    check(segments[0][1] > 20000, f"the first one was there before: {segments}")
    check_equal(segments[1][0], changed, "the next batch begins a segment")
    check(len(segments) >= 5 and all(size <= 20000 for _, size in segments[1:]), f"{segments}")
    check_equal(segments[-1][0], late, "a late batch begins a segment")
