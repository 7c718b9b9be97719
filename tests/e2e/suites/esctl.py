"""esctl: every command, both outputs, every exit code."""

import json
import os
import socket
import subprocess

from harness.cases import check, check_equal, test
from harness.protocol import RawClient
from harness.records import batch_of

OK, FAILURE, USAGE, NOT_FOUND, TIMEOUT = 0, 1, 2, 3, 5


def esctl(context, *args, bootstrap=None, env=None):
    if not context.esctl.exists():
        context.skip("esctl is not built")
    command = [str(context.esctl), *(["--bootstrap", bootstrap] if bootstrap else []), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env={**os.environ, **(env or {})})
    return done.returncode, done.stdout, done.stderr


def succeeds(context, *args, **options):
    code, out, errors = esctl(context, *args, **options)
    check_equal(code, OK, f"esctl {' '.join(args)}: {errors}")
    check_equal(errors, "", f"esctl {' '.join(args)}: standard error")
    return out


@test()
def topics_are_created_listed_described_and_deleted(context):
    server = context.start()
    at = {"bootstrap": server.bootstrap}
    out = succeeds(context, "topic", "create", "orders", "--partitions", "3", "--config", "retention.ms=1234567", **at)
    check("orders" in out and "3 partitions" in out, out)
    out = succeeds(context, "topic", "list", **at)
    check_equal(out.split()[:3], ["TOPIC", "PARTITIONS", "ID"], "header")
    check("orders" in out, out)
    with RawClient(server.port) as client:
        client.produce("orders", 1, batch_of([b"x"] * 7))
    out = succeeds(context, "topic", "describe", "orders", **at)
    check("retention.ms" in out and "1234567" in out and "LEADER" in out, out)
    succeeds(context, "topic", "alter", "orders", "--set", "max.message.bytes=4321", "-d", "retention.ms", **at)
    out = succeeds(context, "topic", "describe", "orders", **at)
    check("4321" in out and "1234567" not in out, out)
    code, _, errors = esctl(context, "topic", "alter", "orders", "--set", "flush.ms=1", **at)
    check(code == FAILURE and "flush.ms" in errors, f"{code}: {errors}")
    out = succeeds(context, "topic", "delete", "orders", **at)
    check("orders" in out, out)
    check("orders" not in succeeds(context, "topic", "list", **at), "the deleted topic is listed")


@test()
def json_output_is_one_document_with_stable_names(context):
    server = context.start()
    at = {"bootstrap": server.bootstrap}

    def document(*args):
        return json.loads(succeeds(context, *args, "--output", "json", **at))

    created = document("topic", "create", "t", "-p", "2")
    check_equal((created["topic"], created["created"], created["partitions"]), ("t", True, 2), "create")
    listed = document("topic", "list")
    check_equal([(t["topic"], t["partitions"], t["internal"]) for t in listed["topics"]], [("t", 2, False)], "list")
    with RawClient(server.port) as client:
        client.produce("t", 0, batch_of([b"x"] * 5))
    described = document("topic", "describe", "t")
    check_equal([(p["partition"], p["earliest_offset"], p["latest_offset"]) for p in described["partitions"]],
                [(0, 0, 5), (1, 0, 0)], "describe")
    check_equal(described["id"], listed["topics"][0]["id"], "id")
    check({c["name"]: c["value"] for c in described["configs"]}.get("cleanup.policy") == "delete", "configs")
    status = document("cluster", "status")
    check_equal((status["healthy"], len(status["nodes"]), status["topics"], status["partitions"]), (True, 1, 1, 2),
                "status")
    check_equal(status["nodes"][0]["port"], server.port, "port")
    check_equal(document("topic", "delete", "t")["deleted"], ["t"], "delete")
    check_equal(document("topic", "list")["topics"], [], "nothing left")


@test()
def cluster_status_is_readable(context):
    server = context.start()
    out = succeeds(context, "cluster", "status", bootstrap=server.bootstrap)
    check("healthy" in out and server.bootstrap in out, out)
    out = succeeds(context, "cluster", "status", env={"ESC_BOOTSTRAP": server.bootstrap})
    check("healthy" in out, f"ESC_BOOTSTRAP: {out}")


@test()
def failures_have_their_exit_codes_and_say_what_to_do(context):
    server = context.start()
    at = {"bootstrap": server.bootstrap}
    succeeds(context, "topic", "create", "t", **at)
    cases = [
        (FAILURE, ["topic", "create", "t"], "TOPIC_ALREADY_EXISTS"),
        (FAILURE, ["topic", "create", "a/b"], "a/b"),
        (FAILURE, ["topic", "create", "c", "--config", "no.such.key=1"], "no.such.key"),
        (FAILURE, ["topic", "create", "r", "--replication-factor", "3"], "REPLICATION_FACTOR"),
        (NOT_FOUND, ["topic", "describe", "nowhere"], "nowhere"),
        (NOT_FOUND, ["topic", "delete", "nowhere"], "nowhere"),
        (NOT_FOUND, ["wal", "dump", "/no/such/directory"], "/no/such/directory"),
        (USAGE, [], ""),
        (USAGE, ["topic"], ""),
        (USAGE, ["topic", "create"], "NAME"),
        (USAGE, ["topic", "create", "x", "--partitions", "0"], "partitions"),
        (USAGE, ["topic", "create", "x", "--config", "oops"], "KEY=VALUE"),
        (USAGE, ["topic", "list", "--output", "xml"], "output"),
        (USAGE, ["no-such-command"], ""),
    ]
    for wanted, args, word in cases:
        code, out, errors = esctl(context, *args, **at)
        check_equal(code, wanted, f"esctl {' '.join(args)}: {errors}")
        check(word in errors, f"esctl {' '.join(args)}: the message does not name {word!r}: {errors}")
        check_equal(out, "", f"esctl {' '.join(args)}: standard output")
    succeeds(context, "topic", "create", "t", "--if-not-exists", **at)
    succeeds(context, "topic", "delete", "nowhere", "--if-exists", **at)
    succeeds(context, "topic", "create", "dry", "--validate-only", **at)
    check("dry" not in succeeds(context, "topic", "list", **at), "--validate-only created the topic")


@test()
def a_dead_a_mute_and_a_foreign_server_are_told_apart(context):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % closed.getsockname()[1]
        code, _, errors = esctl(context, "topic", "list", bootstrap=address)
        check_equal(code, FAILURE, f"refused connection: {errors}")
        check(address in errors and "refused" in errors and "--bootstrap" in errors, errors)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = "127.0.0.1:%d" % mute.getsockname()[1]
        code, _, errors = esctl(context, "--timeout", "0.5", "topic", "list", bootstrap=address)
        check_equal(code, TIMEOUT, f"mute server: {errors}")
        check(address in errors and "--timeout" in errors, errors)
    code, _, errors = esctl(context, "topic", "list", bootstrap="no-port")
    check_equal(code, USAGE, f"malformed address: {errors}")


@test()
def help_is_complete(context):
    for args in (["--help"], ["topic", "--help"], ["topic", "create", "--help"], ["wal", "dump", "--help"],
                 ["cluster", "status", "--help"], ["dev", "up", "--help"], ["drill", "failover", "--help"], ["--version"]):
        out = succeeds(context, *args)
        check(out.strip(), f"esctl {' '.join(args)} printed nothing")
    out = succeeds(context, "--help")
    for word in ("EXIT CODES", "EXAMPLES", "ESC_BOOTSTRAP", "--timeout", "--output", "topic", "cluster", "wal", "dev", "drill"):
        check(word in out, f"--help does not mention {word}")


@test()
def wal_dump_reads_a_live_and_a_dead_directory(context):
    server = context.start("--cores", "2")
    with RawClient(server.port) as client:
        client.create_topic("t", 4)
        for i in range(40):
            client.produce("t", i % 4, batch_of([b"x" * 500] * 10))
    for state in ("running", "killed"):
        if state == "killed":
            server.kill()
        out = succeeds(context, "wal", "dump", server.data_dir)
        check("group" in out.lower(), f"{state}: {out[:300]}")
        document = json.loads(succeeds(context, "wal", "dump", server.data_dir, "--output", "json", "--entries"))
        check(len(document["groups"]) >= 1, f"{state}: no group")
        entries = [e for g in document["groups"] for s in g["segments"] for f in s["frames"]
                   for e in f.get("entries", [])]
        check(sum(e["kind"] == "batch" for e in entries) >= 40, f"{state}: {len(entries)} entries")
    code, _, errors = esctl(context, "wal", "dump", server.data_dir, "--group", "77")
    check_equal(code, NOT_FOUND, f"an unknown group: {errors}")
