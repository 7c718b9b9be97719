"""The protocol's edges through a raw socket: versions, ordering, limits, error codes, administration."""

import struct
import time

from harness import records as rec
from harness.cases import check, check_equal, eventually, test
from harness.protocol import RawClient, fetch_body, produce_body, request_bytes
from harness.records import Record, batch_of
from harness.schema import APIS

BASE_TIME = 1_700_000_000_000

# The ranges of the compatibility map: what is advertised, and the lowest version that is really served.
ADVERTISED = {"Produce": (0, 9), "Fetch": (4, 17), "ListOffsets": (1, 9), "Metadata": (0, 12),
              "ApiVersions": (0, 4), "CreateTopics": (2, 7), "DeleteTopics": (1, 6), "DescribeConfigs": (1, 4),
              "CreatePartitions": (0, 3), "DescribeCluster": (0, 1)}
SERVED_FROM = {"Produce": 3}


def versions(name):
    low, high = ADVERTISED[name]
    return range(SERVED_FROM.get(name, low), high + 1)


# ---- versions

@test()
def api_versions_lists_the_documented_ranges_at_every_version(context):
    server = context.start()
    for version in range(0, 5):
        with RawClient(server.port) as client:
            answer = client.call("ApiVersions", version,
                                 {"client_software_name": "raw", "client_software_version": "1.0"}
                                 if version >= 3 else {})
            check_equal(answer["error_code"], 0, f"v{version} error")
            ranges = {api["key"]: (api["min"], api["max"]) for api in answer["apis"]}
            for name, wanted in ADVERTISED.items():
                check_equal(ranges.get(APIS[name].key), wanted, f"v{version}: range of {name}")


@test()
def an_unknown_version_of_api_versions_gets_error_35_and_the_ranges(context):
    server = context.start()
    with RawClient(server.port) as client:
        client.expected.append((7, "ApiVersions", 0))
        body = {"client_software_name": "raw", "client_software_version": "1.0"}
        client.socket.sendall(request_bytes("ApiVersions", 4, body, 7, wire_version=99))
        answer = client.receive()
        check_equal(answer["error_code"], 35, "error")
        check(any(api["key"] == 18 for api in answer["apis"]), "the ranges are missing")
        check_equal(client.call("ApiVersions", 0)["error_code"], 0, "the connection goes on")


@test()
def an_invalid_client_software_name_is_refused(context):
    server = context.start()
    with RawClient(server.port) as client:
        answer = client.call("ApiVersions", 3, {"client_software_name": "-bad name-", "client_software_version": "1"})
        check_equal(answer["error_code"], 42, "error")


@test()
def unsupported_versions_and_unknown_apis_close_the_connection(context):
    server = context.start()
    for name, version in (("Produce", 2), ("Produce", 10), ("Fetch", 3), ("Fetch", 13), ("Metadata", 13),
                          ("ListOffsets", 8), ("CreateTopics", 1)):
        with RawClient(server.port) as client:
            client.socket.sendall(request_bytes(name, 9 if name == "Produce" else 4, {}, 1, wire_version=version))
            check(client.closed_by_server(), f"{name} v{version} left the connection open")
    with RawClient(server.port) as client:
        client.socket.sendall(struct.pack(">ihhih", 10, 999, 0, 1, -1))
        check(client.closed_by_server(), "API 999 left the connection open")
    check(server.answers(), "the server no longer answers")


@test()
def every_api_answers_at_every_version(context):
    server = context.start()
    with RawClient(server.port) as client:
        for version in versions("CreateTopics"):
            name = f"t{version}"
            check_equal(client.create_topic(name, 2, version=version)["error_code"], 0, f"CreateTopics v{version}")
        for version in versions("Metadata"):
            answer = client.metadata(["t7"], version)
            check_equal((answer["topics"][0]["error_code"], len(answer["topics"][0]["partitions"])), (0, 2),
                        f"Metadata v{version}")
        for version in versions("Produce"):
            answer = client.produce("t7", 0, batch_of([b"a", b"b"]), version=version)
            check_equal(answer["error_code"], 0, f"Produce v{version}")
            check_equal(answer["base_offset"], (version - 3) * 2, f"Produce v{version}: base offset")
        for version in versions("Fetch"):
            answer = client.fetch("t7", 0, 0, version)
            check_equal((answer["error_code"], answer["high_watermark"]), (0, 14), f"Fetch v{version}")
            check_equal([r.offset for r in rec.read_batches(answer["records"])], list(range(14)), f"Fetch v{version}")
        for version in versions("ListOffsets"):
            for timestamp, wanted in ((-1, 14), (-2, 0)):
                answer = client.list_offset("t7", 0, timestamp, version)
                check_equal((answer["error_code"], answer["offset"]), (0, wanted), f"ListOffsets v{version} {timestamp}")
        for version in versions("CreatePartitions"):
            body = {"topics": [{"name": "t7", "count": 3 + version, "assignments": None}], "timeout_ms": 5000}
            answer = client.call("CreatePartitions", version, body)["results"][0]
            check_equal(answer["error_code"], 0, f"CreatePartitions v{version}: {answer['error_message']}")
        for version in versions("DescribeConfigs"):
            answer = client.call("DescribeConfigs", version, {"resources": [{"type": 2, "name": "t7", "keys": None}]})
            check_equal(answer["results"][0]["error_code"], 0, f"DescribeConfigs v{version}")
            check(answer["results"][0]["configs"], f"DescribeConfigs v{version}: nothing")
        for version in versions("DescribeCluster"):
            answer = client.call("DescribeCluster", version, {"endpoint_type": 1} if version >= 1 else {})
            check_equal((answer["error_code"], len(answer["brokers"])), (0, 1), f"DescribeCluster v{version}")
        for version in versions("DeleteTopics"):
            check_equal(client.delete_topic(f"t{version + 1}", version)["error_code"], 0, f"DeleteTopics v{version}")


# ---- order on a connection

@test()
def pipelined_requests_are_answered_in_order(context):
    server = context.start("--cores", "2")
    with RawClient(server.port) as client:
        client.create_topic("t", 8)
        for i in range(200):
            kind = i % 4
            if kind == 0:
                client.send("Produce", 9, produce_body("t", i % 8, batch_of([b"x" * 100] * (i % 5 + 1))))
            elif kind == 1:
                client.send("ApiVersions", 0)
            elif kind == 2:
                client.send("Fetch", 11, fetch_body("t", i % 8, 0, max_wait_ms=10))
            else:
                client.send("Metadata", 8, {"topics": [{"name": "t"}]})
        while client.expected:
            client.receive()  # raises when an answer is out of order


@test()
def acks_0_gets_no_answer_and_is_stored(context):
    server = context.start()
    with RawClient(server.port) as client:
        client.create_topic("t")
        client.send("Produce", 9, produce_body("t", 0, batch_of([b"silent"]), acks=0), answered=False)
        check_equal(client.call("ApiVersions", 0)["error_code"], 0, "the next answer belongs to the next request")
        answer = eventually(lambda: rec.read_batches(client.fetch("t", 0, 0)["records"]), what="the record")
        check_equal(answer[0].value, b"silent", "value")


@test()
def an_error_with_acks_0_closes_the_connection(context):
    server = context.start()
    with RawClient(server.port) as client:
        client.create_topic("t")
        client.send("Produce", 9, produce_body("t", 0, batch_of([b"x"], bad_crc=True), acks=0), answered=False)
        check(client.closed_by_server(), "the connection is still open")


@test()
def acks_1_and_all_are_answered_and_other_values_refused(context):
    server = context.start()
    with RawClient(server.port) as client:
        client.create_topic("t")
        check_equal(client.produce("t", 0, batch_of([b"x"]), acks=1)["error_code"], 0, "acks 1")
        check_equal(client.produce("t", 0, batch_of([b"x"]), acks=-1)["error_code"], 0, "acks all")
        for acks in (2, -2, 17):
            check_equal(client.produce("t", 0, batch_of([b"x"]), acks=acks)["error_code"], 21, f"acks {acks}")


# ---- produce errors

@test()
def each_invalid_batch_gets_its_documented_error(context):
    server = context.start()
    one = [Record(value=b"x", timestamp=BASE_TIME)]
    good = rec.build_batch(one)
    cases = [
        ("bad checksum", rec.build_batch(one, bad_crc=True), 2),
        ("shorter than a header", good[:40], 2),
        ("magic 1", rec.build_batch(one, magic=1), 87),
        ("two batches", good + good, 87),
        ("base offset not 0", rec.build_batch(one, base_offset=5), 87),
        ("no records", rec.build_batch([], last_offset_delta=0), 87),
        ("count is not delta + 1", rec.build_batch(one, count=2), 87),
        ("negative count", rec.build_batch(one, count=-1), 87),
        ("control batch", rec.build_batch(one, attributes=0x20), 87),
        ("LogAppendTime set by the client", rec.build_batch(one, attributes=0x08), 32),
        ("producer id without sequence", rec.build_batch(one, producer_id=5, producer_epoch=0), 87),
        ("transactional batch", rec.build_batch(one, producer_id=5, producer_epoch=0, base_sequence=0,
                                                attributes=0x10), 48),
        ("unknown codec", rec.build_batch(one, attributes=0x05), None),
        ("empty set", b"", 87),
        ("length beyond the set", rec.build_batch(one, length=100000), None),
    ]
    with RawClient(server.port) as client:
        client.create_topic("t")
        for what, batch, wanted in cases:
            got = client.produce("t", 0, batch)["error_code"]
            if wanted is None:
                check(got != 0, f"{what} was accepted")
            else:
                check_equal(got, wanted, what)
        check_equal(client.produce("t", 0, good)["base_offset"], 0, "nothing of it was stored")
        check_equal(client.produce("t", 7, good)["error_code"], 3, "unknown partition")
        check_equal(client.produce("nowhere", 0, good)["error_code"], 3, "unknown topic")


@test()
def zstd_needs_produce_v7(context):
    server = context.start()
    with RawClient(server.port) as client:
        client.create_topic("t")
        batch = batch_of([b"x" * 100], "zstd")
        check_equal(client.produce("t", 0, batch, version=6)["error_code"], 76, "v6")
        check_equal(client.produce("t", 0, batch, version=7)["error_code"], 0, "v7")


@test()
def a_batch_over_max_message_bytes_is_refused(context):
    server = context.start()
    with RawClient(server.port) as client:
        client.create_topic("small", configs={"max.message.bytes": "2000"})
        check_equal(client.produce("small", 0, batch_of([b"x" * 1000]))["error_code"], 0, "under the topic's limit")
        check_equal(client.produce("small", 0, batch_of([b"x" * 3000]))["error_code"], 10, "over the topic's limit")
        client.create_topic("normal")
        check_equal(client.produce("normal", 0, batch_of([b"x" * 1_000_000]))["error_code"], 0, "a megabyte")
        check_equal(client.produce("normal", 0, batch_of([b"x" * 1_100_000]))["error_code"], 10, "over the default")


@test()
def one_bad_partition_does_not_spoil_the_others(context):
    server = context.start("--cores", "2")
    with RawClient(server.port) as client:
        client.create_topic("t", 4)
        partitions = [{"index": i, "records": batch_of([b"x"], bad_crc=i == 2)} for i in (0, 1, 2, 3, 9)]
        body = {"acks": -1, "timeout_ms": 5000, "topics": [{"name": "t", "partitions": partitions}]}
        answer = client.call("Produce", 9, body)["topics"][0]["partitions"]
        check_equal({p["index"]: p["error_code"] for p in answer}, {0: 0, 1: 0, 2: 2, 3: 0, 9: 3}, "errors")


# ---- fetch

@test()
def fetch_waits_for_min_bytes_and_wakes_at_once(context):
    server = context.start()
    with RawClient(server.port) as consumer, RawClient(server.port) as producer:
        producer.create_topic("t")
        began = time.monotonic()
        check_equal(consumer.fetch("t", 0, 0, max_wait_ms=600)["records"] or b"", b"", "an empty log")
        waited = time.monotonic() - began
        check(0.5 < waited < 3, f"an empty fetch with max wait 600 ms took {waited:.3f} s")
        consumer.send("Fetch", 11, fetch_body("t", 0, 0, max_wait_ms=20000, min_bytes=1))
        time.sleep(0.2)
        began = time.monotonic()
        producer.produce("t", 0, batch_of([b"wake up"]))
        answer = consumer.receive()["topics"][0]["partitions"][0]
        check(time.monotonic() - began < 2, "a waiting fetch was not woken by the record")
        check_equal(rec.read_batches(answer["records"])[0].value, b"wake up", "value")
        consumer.send("Fetch", 11, fetch_body("t", 0, 1, max_wait_ms=20000, min_bytes=3000))
        for _ in range(5):
            producer.produce("t", 0, batch_of([b"x" * 1000]))
        answer = consumer.receive()["topics"][0]["partitions"][0]
        check(len(answer["records"]) >= 3000, f"min bytes 3000, but {len(answer['records'])} came")
        began = time.monotonic()
        consumer.fetch("t", 0, 0, max_wait_ms=0, min_bytes=1 << 20)
        check(time.monotonic() - began < 1, "max wait 0 waited")


@test()
def a_fetch_at_the_end_is_woken_on_another_core(context):
    server = context.start("--cores", "2")
    with RawClient(server.port) as admin:
        admin.create_topic("t", 8)
    for partition in range(8):
        with RawClient(server.port) as consumer, RawClient(server.port) as producer:
            consumer.send("Fetch", 11, fetch_body("t", partition, 0, max_wait_ms=20000))
            time.sleep(0.05)
            began = time.monotonic()
            producer.produce("t", partition, batch_of([b"x"]))
            check(consumer.receive()["topics"][0]["partitions"][0]["records"], "nothing came")
            check(time.monotonic() - began < 2, f"partition {partition} was woken late")


@test()
def fetch_respects_max_bytes_and_always_gives_a_first_batch(context):
    server = context.start()
    with RawClient(server.port) as client:
        client.create_topic("t", 2)
        for i in range(20):
            client.produce("t", 0, batch_of([b"%02d" % i + b"x" * 10000]))
            client.produce("t", 1, batch_of([b"%02d" % i + b"y" * 10000]))
        for limit in (25000, 100000):
            records = client.fetch("t", 0, 0, partition_max_bytes=limit)["records"]
            check(0 < len(rec.read_batches(records)) and len(records) <= limit, f"limit {limit}: {len(records)} bytes")
        whole = rec.read_batches(client.fetch("t", 0, 3, partition_max_bytes=10)["records"])
        check_equal(whole[0].offset, 3, "a first batch larger than the limit")
        body = fetch_body("t", 0, 0, max_bytes=30000)
        body["topics"][0]["partitions"].append({**body["topics"][0]["partitions"][0], "index": 1})
        answer = client.call("Fetch", 11, body)["topics"][0]["partitions"]
        total = sum(len(p["records"] or b"") for p in answer)
        check(0 < total <= 45000, f"max bytes 30000 over two partitions gave {total}")


@test()
def consumers_see_everything_in_pieces_from_any_offset(context):
    server = context.start()
    with RawClient(server.port) as client:
        client.create_topic("t")
        for i in range(50):
            client.produce("t", 0, batch_of([b"%d" % (i * 4 + j) for j in range(4)]))
        for start in (0, 1, 77, 199):
            got, offset = [], start
            while offset < 200:
                batch = rec.read_batches(client.fetch("t", 0, offset, partition_max_bytes=700)["records"])
                fresh = [r for r in batch if r.offset >= offset]
                check(fresh, f"no progress at {offset}")
                got += fresh
                offset = got[-1].offset + 1
            check_equal([int(r.value) for r in got], list(range(start, 200)), f"from {start}")


@test()
def fetch_errors_are_the_documented_ones(context):
    server = context.start()
    with RawClient(server.port) as client:
        client.create_topic("t")
        client.produce("t", 0, batch_of([b"x"]))
        check_equal(client.fetch("t", 0, 2)["error_code"], 1, "beyond the end")
        check_equal(client.fetch("t", 0, -1)["error_code"], 1, "a negative offset")
        check_equal(client.fetch("t", 0, 1, max_wait_ms=0)["error_code"], 0, "at the end")
        check_equal(client.fetch("t", 5, 0)["error_code"], 3, "unknown partition")
        check_equal(client.fetch("nowhere", 0, 0)["error_code"], 3, "unknown topic")
        epoch = client.metadata(["t"])["topics"][0]["partitions"][0]["leader_epoch"]
        check_equal(client.fetch("t", 0, 0, leader_epoch=epoch)["error_code"], 0, "the leader's epoch")
        check_equal(client.fetch("t", 0, 0, leader_epoch=epoch + 5)["error_code"], 75, "a later epoch")
        if epoch > 0:
            check_equal(client.fetch("t", 0, 0, leader_epoch=epoch - 1)["error_code"], 74, "an earlier epoch")


@test()
def fetch_sessions_are_declined(context):
    server = context.start()
    with RawClient(server.port) as client:
        client.create_topic("t")
        client.produce("t", 0, batch_of([b"x"]))
        for epoch in (0, -1):
            answer = client.call("Fetch", 11, fetch_body("t", 0, 0, session_epoch=epoch))
            check_equal((answer["error_code"], answer["session_id"]), (0, 0), f"session epoch {epoch}")
            check_equal(len(answer["topics"]), 1, "every requested partition is answered")
        answer = client.call("Fetch", 11, fetch_body("t", 0, 0, session_id=77, session_epoch=3))
        check_equal(answer["error_code"], 70, "an unknown session")


# ---- metadata and administration

@test()
def metadata_distinguishes_null_from_empty(context):
    server = context.start()
    with RawClient(server.port) as client:
        for name in ("a", "b"):
            client.create_topic(name)
        names = {version: [t["name"] for t in client.metadata(topics, version)["topics"]]
                 for version, topics in ((0, []), (1, None), (9, None), (12, None))}
        check_equal({v: sorted(n) for v, n in names.items()}, {v: ["a", "b"] for v in (0, 1, 9, 12)}, "all topics")
        for version in (1, 9, 12):
            check_equal(client.metadata([], version)["topics"], [], f"empty in v{version} means none")
        answer = client.metadata(["a"], 12)
        brokers = [b["node_id"] for b in answer["brokers"]]
        check(answer["controller_id"] in brokers, "the controller is not a live broker")
        check_equal(answer["brokers"][0]["port"], server.port, "the advertised port")
        topic = answer["topics"][0]
        check(topic["topic_id"] != bytes(16), "no topic id")
        check_equal(topic["partitions"][0]["leader_id"], brokers[0], "leader")
        body = {"topics": [{"topic_id": topic["topic_id"], "name": None}]}
        check_equal(client.call("Metadata", 12, body)["topics"][0]["name"], "a", "lookup by topic id")


@test()
def topics_are_created_on_first_use_only_where_allowed(context):
    server = context.start()
    with RawClient(server.port) as client:
        check_equal(client.metadata(["no"], auto_create=False)["topics"][0]["error_code"], 3, "not allowed by request")
        client.metadata(["yes"], auto_create=True)
        found = eventually(lambda: client.metadata(["yes"])["topics"][0]["error_code"] == 0, what="topic yes")
        check(found, "not created")
        answer = client.metadata(["in valid"], auto_create=True)["topics"][0]
        check_equal(answer["error_code"], 17, "an invalid name")
    config = context.dir / "escd.toml"
    config.write_text("[topics]\nauto_create = false\n")
    other = context.server("closed").start("--config", str(config))
    with RawClient(other.port) as client:
        check_equal(client.metadata(["yes"], auto_create=True)["topics"][0]["error_code"], 3, "switched off")


@test()
def create_topics_validates(context):
    server = context.start()
    with RawClient(server.port) as client:
        check_equal(client.create_topic("dry", 3, validate_only=True)["error_code"], 0, "validate only")
        check_equal(client.metadata(["dry"])["topics"][0]["error_code"], 3, "validate only created it")
        check_equal(client.create_topic("t", 3)["error_code"], 0, "create")
        check_equal(client.create_topic("t", 3)["error_code"], 36, "twice")
        check_equal(client.create_topic("t", 3, validate_only=True)["error_code"], 36, "twice, validate only")
        for name in ("", ".", "..", "a/b", "a b", "é", "x" * 250):
            check_equal(client.create_topic(name)["error_code"], 17, f"name {name[:20]!r}")
        check_equal(client.create_topic("x" * 249)["error_code"], 0, "a name of 249 characters")
        check_equal(client.create_topic("p0", 0)["error_code"], 37, "0 partitions")
        check_equal(client.create_topic("p-2", -2)["error_code"], 37, "-2 partitions")
        check_equal(client.create_topic("many", 2_000_000_000)["error_code"] != 0, True, "2 billion partitions")
        check_equal(client.create_topic("r3", 1, replication=3)["error_code"], 38, "3 replicas on one node")
        check_equal(client.create_topic("default", -1, replication=-1)["error_code"], 0, "the server's defaults")
        for key, value in (("retention.ms", "soon"), ("no.such.setting", "1"), ("cleanup.policy", "shred")):
            check_equal(client.create_topic("c", 1, {key: value})["error_code"], 40, f"{key}={value}")
        answer = client.call("CreateTopics", 5, {"timeout_ms": 5000, "topics": [
            {"name": n, "num_partitions": 1, "replication_factor": 1} for n in ("dup", "dup")]})
        check(all(t["error_code"] == 42 for t in answer["topics"]), "the same name twice in one request")


@test()
def create_partitions_only_grows(context):
    server = context.start("--cores", "2")

    def grow(client, name, count, validate_only=False):
        body = {"topics": [{"name": name, "count": count, "assignments": None}], "timeout_ms": 5000,
                "validate_only": validate_only}
        return client.call("CreatePartitions", 3, body)["results"][0]["error_code"]

    with RawClient(server.port) as client:
        client.create_topic("t", 2)
        client.produce("t", 1, batch_of([b"before"]))
        check_equal(grow(client, "t", 4, validate_only=True), 0, "validate only")
        check_equal(len(client.metadata(["t"])["topics"][0]["partitions"]), 2, "after validate only")
        check_equal(grow(client, "t", 6), 0, "grow")
        check_equal(len(client.metadata(["t"])["topics"][0]["partitions"]), 6, "after growing")
        check_equal(grow(client, "t", 6), 37, "the same count")
        check_equal(grow(client, "t", 1), 37, "shrink")
        check_equal(grow(client, "nowhere", 3), 3, "unknown topic")
        for partition in range(6):
            check_equal(client.produce("t", partition, batch_of([b"x"]))["error_code"], 0, f"partition {partition}")
        check_equal(client.list_offset("t", 1, -1)["offset"], 2, "old records stay")
    server.kill()
    server.start("--cores", "2")
    with RawClient(server.port) as client:
        check_equal(len(client.metadata(["t"])["topics"][0]["partitions"]), 6, "after a crash")


@test()
def a_deleted_topic_is_gone_for_good_and_may_be_made_anew(context):
    server = context.start()
    with RawClient(server.port) as client:
        client.create_topic("t", 2)
        first_id = client.metadata(["t"], 12)["topics"][0]["topic_id"]
        client.produce("t", 0, batch_of([b"old"]))
        check_equal(client.delete_topic("t")["error_code"], 0, "delete")
        check_equal(client.delete_topic("t")["error_code"], 3, "delete twice")
        check_equal(client.produce("t", 0, batch_of([b"x"]))["error_code"], 3, "produce after delete")
        check_equal(client.fetch("t", 0, 0)["error_code"], 3, "fetch after delete")
        check_equal(client.create_topic("t", 1)["error_code"], 0, "create again")
        check(client.metadata(["t"], 12)["topics"][0]["topic_id"] != first_id, "the new topic has the old id")
        check_equal(client.produce("t", 0, batch_of([b"new"]))["base_offset"], 0, "offsets start anew")
        check_equal([r.value for r in rec.read_batches(client.fetch("t", 0, 0)["records"])], [b"new"], "records")
    server.kill()
    server.start()
    with RawClient(server.port) as client:
        check_equal([r.value for r in rec.read_batches(client.fetch("t", 0, 0)["records"])], [b"new"], "after a crash")
        answer = client.call("DeleteTopics", 6, {"timeout_ms": 5000, "topics": [
            {"name": None, "topic_id": client.metadata(["t"], 12)["topics"][0]["topic_id"]}]})
        check_equal(answer["responses"][0]["error_code"], 0, "delete by id")


@test()
def describe_configs_reports_real_values(context):
    server = context.start()
    with RawClient(server.port) as client:
        check_equal(client.create_topic("t", 1, {"retention.ms": "654321"})["error_code"], 0, "create")

        def configs(**resource):
            answer = client.call("DescribeConfigs", 4, {"resources": [resource]})["results"][0]
            return answer["error_code"], {c["name"]: c for c in answer["configs"]}

        error, all_of_them = configs(type=2, name="t", keys=None)
        check_equal(error, 0, "error")
        check_equal(all_of_them["cleanup.policy"]["value"], "delete", "cleanup.policy")
        check_equal(all_of_them["retention.ms"]["value"], "654321", "retention.ms")
        check_equal(all_of_them["retention.ms"]["source"], 1, "source of a value the topic sets")
        check(all_of_them["max.message.bytes"]["source"] in (4, 5), "source of a default")
        error, some = configs(type=2, name="t", keys=["retention.ms"])
        check_equal((error, list(some)), (0, ["retention.ms"]), "only the requested key")
        check_equal(configs(type=2, name="nowhere", keys=None)[0], 3, "unknown topic")
        broker = client.metadata(None)["brokers"][0]["node_id"]
        check_equal(configs(type=4, name=str(broker), keys=None)[0], 0, "the broker's settings")
        check_equal(client.create_topic("c", 1, {"cleanup.policy": "shred"})["error_code"], 40, "a policy nobody knows")
        check_equal(client.create_topic("c", 1, {"cleanup.policy": "delete,compact"})["error_code"], 0, "both")
        check_equal(configs(type=2, name="c", keys=["cleanup.policy"])[1]["cleanup.policy"]["value"], "compact,delete",
                    "what a topic that is compacted says of itself")


@test()
def list_offsets_finds_the_first_record_at_or_after_a_time(context):
    server = context.start()
    with RawClient(server.port) as client:
        client.create_topic("t")
        check_equal(client.list_offset("t", 0, BASE_TIME)["offset"], -1, "an empty log")
        stamps = [BASE_TIME + i * 1000 for i in range(100)]
        for i in range(0, 100, 4):
            client.produce("t", 0, rec.build_batch(
                [Record(value=b"x", timestamp=s) for s in stamps[i:i + 4]], "lz4" if i % 8 else "none"))
        for wanted in (0, 1, 3, 4, 50, 99):
            for shift in (-1, 0):
                answer = client.list_offset("t", 0, stamps[wanted] + shift)
                check_equal((answer["error_code"], answer["offset"], answer["timestamp"]),
                            (0, wanted, stamps[wanted]), f"time of record {wanted} {shift:+d}")
        check_equal(client.list_offset("t", 0, stamps[-1] + 1)["offset"], -1, "after the last record")
        check_equal(client.list_offset("t", 0, -3, version=7)["offset"], 99, "the largest timestamp")
        check_equal(client.list_offset("t", 3, -1)["error_code"], 3, "unknown partition")


@test()
def retention_by_size_moves_the_log_start(context):
    server = context.server()
    config = context.dir / "escd.toml"
    config.write_text("[tuning]\nretention_check_interval_ms = 200\n[tuning.checkpoint]\ninterval_ms = 200\n")
    server.start("--config", str(config))
    with RawClient(server.port) as client:
        answer = client.create_topic("t", 1, {"retention.bytes": "3000000", "segment.bytes": "1048576"})
        check_equal(answer["error_code"], 0, f"create: {answer['error_message']}")
        for _ in range(120):
            client.produce("t", 0, batch_of([b"x" * 100_000]))
        start = eventually(lambda: client.list_offset("t", 0, -2)["offset"], 20, what="the log start moved")
        check(start <= 100, f"log start {start}: more was deleted than allowed")
        check_equal(client.list_offset("t", 0, -1)["offset"], 120, "end")
        check_equal(client.fetch("t", 0, 0)["error_code"], 1, "fetch below the start")
        check_equal(rec.read_batches(client.fetch("t", 0, start)["records"])[0].offset, start, "fetch at the start")
