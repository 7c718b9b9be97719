"""esctl dev, esctl cluster status and esctl drill: a cluster for development, and what an operator is told."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request

from harness.cases import check, check_equal, eventually, test
from harness.server import free_ports
from harness.protocol import RawClient
from harness.records import batch_of

OK, FAILURE, NOT_FOUND, DEGRADED, UNHEALTHY = 0, 1, 3, 10, 11


class Dev:
    """A cluster of the test's own, run by esctl dev; ended with the test whatever happens."""

    def __init__(self, context, nodes=3):
        self.context, self.directory = context, context.dir / "dev"
        self.port = next(p for p in (free_ports(1)[0] for _ in range(50)) if self._all_free(p, nodes))
        context.defer(lambda: self.run("dev", "down", "--dir", self.directory, "--timeout", "2"))

    @staticmethod
    def _all_free(port, nodes):
        for number in [port + n for n in range(nodes)] + [port + 10000 + n for n in range(nodes)] + [port + 552 + n for n in range(nodes)]:
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", number))
                except OSError:
                    return False
        return True

    def run(self, *args, timeout=120):
        done = subprocess.run([str(self.context.esctl), *map(str, args)], capture_output=True, text=True, timeout=timeout)
        return done.returncode, done.stdout, done.stderr

    def dev(self, command, *args, wanted=OK):
        code, out, errors = self.run("dev", command, "--dir", self.directory, "--output", "json", *args)
        check_equal(code, wanted, f"esctl dev {command}: {errors}{out}")
        return json.loads(out) if out else errors

    def up(self, *args, wanted=OK):
        return self.dev("up", "--kafka-port", self.port, "--timeout", "30", *args, wanted=wanted)

    def status(self, wanted):
        bootstrap = ",".join(f"127.0.0.1:{self.port + n}" for n in range(3))
        code, out, errors = self.run("-b", bootstrap, "cluster", "status", "--output", "json")
        check_equal(code, wanted, f"cluster status: {errors}{out}")
        return json.loads(out) if out else errors


def kill(pid):
    os.kill(pid, signal.SIGKILL)


@test(timeout=90)
def dev_up_and_down_may_be_repeated(context):
    dev = Dev(context)
    first = dev.up()
    check_equal((first["started"], len(first["nodes"])), (3, 3), "first up")
    context.note(f"three nodes ready in {first['ready_ms']} ms")
    with RawClient(dev.port) as client:  # ready means ready: every node serves, every group commits
        check_equal(len(client.metadata(None)["brokers"]), 3, "brokers")
    for node in first["nodes"]:
        with urllib.request.urlopen(node["metrics"], timeout=5) as page:
            check(b"\nesc_raft_leader{" in page.read(), f"{node['metrics']} shows no metrics")
    again = dev.up()
    check_equal((again["started"], [n["pid"] for n in again["nodes"]]), (0, [n["pid"] for n in first["nodes"]]), "again")
    kill(first["nodes"][1]["pid"])
    repaired = dev.up()
    check_equal(repaired["started"], 1, "only the missing node")
    check_equal(repaired["nodes"][0]["pid"], first["nodes"][0]["pid"], "the others stay")
    check_equal(dev.dev("down")["stopped"], 3, "down")
    check_equal(dev.dev("down")["stopped"], 0, "down again")
    check(dev.dev("up", "--timeout", "30")["bootstrap"].startswith(f"127.0.0.1:{dev.port},"), "settings are remembered")
    dev.dev("down", "--remove-data")
    check(not dev.directory.exists(), "the directory is still there")
    dev.dev("status", wanted=NOT_FOUND)


@test(timeout=60)
def one_node_is_a_cluster_too(context):
    dev = Dev(context, 1)
    nodes = dev.up("--nodes", "1", "--set", "admin.listen=")["nodes"]
    check_equal([node["metrics"] for node in nodes], [None], "nodes, whose metrics are switched off")
    with RawClient(dev.port) as client:
        client.create_topic("t")
        check_equal(client.produce("t", 0, batch_of([b"x"]))["error_code"], 0, "produce")


@test(timeout=60)
def dev_up_explains_what_is_in_its_way(context):
    dev = Dev(context)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", dev.port + 1))
        taken.listen()
        errors = dev.up(wanted=FAILURE)
        check(str(dev.port + 1) in errors and str(os.getpid()) in errors and "--kafka-port" in errors, errors)
    dev.up()
    errors = dev.up("--nodes", "5", wanted=FAILURE)
    check("3" in errors and "5" in errors and "--dir" in errors, errors)
    dev.dev("down")
    foreign = context.dir / "foreign"
    foreign.mkdir()
    (foreign / "precious").write_text("x")
    code, _, errors = dev.run("dev", "up", "--dir", foreign)
    check_equal(code, FAILURE, errors)
    check(str(foreign) in errors and list(foreign.iterdir()) == [foreign / "precious"], errors)


@test(timeout=60)
def a_process_that_only_has_the_number_of_a_node_is_left_alone(context):
    dev = Dev(context)
    nodes = dev.up()["nodes"]
    stranger = subprocess.Popen(["sleep", "60"])
    context.defer(stranger.kill)
    pid_file = dev.directory / "node-1" / "escd.pid"
    _, started, boot = pid_file.read_text().split()
    kill(nodes[0]["pid"])
    pid_file.write_text(f"{stranger.pid} {started} {boot}\n")
    check_equal(dev.dev("down")["stopped"], 2, "nodes stopped")
    check_equal(stranger.poll(), None, "the stranger was killed")


@test(timeout=60)
def a_node_that_cannot_start_is_told_with_its_log(context):
    dev = Dev(context)
    errors = dev.up("--set", "tuning.wal.segment_bytes=7", wanted=FAILURE)
    check("escd.log" in errors and "segment_bytes" in errors, errors)
    check_equal(dev.dev("status", wanted=UNHEALTHY)["health"], "unhealthy", "status")


@test(timeout=90)
def cluster_status_judges_by_what_commits(context):
    dev = Dev(context)
    nodes = dev.up()["nodes"]
    whole = dev.status(OK)
    check_equal((whole["health"], whole["healthy"], whole["canary"]), ("healthy", True, {"groups": 3, "committed": 3}), "whole")
    for group in whole["groups"]:
        check(group["leader"] in (1, 2, 3) and group["term"] >= 1 and group["likely_reason"], f"group {group}")
        check_equal(len(group["followers"]), 2, "followers")
    victim = next(n for n in nodes if n["id"] != whole["groups"][0]["leader"])
    kill(victim["pid"])
    degraded = eventually(lambda: _if(dev.status(DEGRADED), "degraded"), 10, what="one node down")
    check(any(f"node {victim['id']}" in t for t in degraded["trouble"]), degraded["trouble"])
    check_equal([n["answers"] for n in degraded["nodes"] if n["id"] == victim["id"]], [False], "the dead node")
    kill(next(n for n in nodes if n["id"] != victim["id"])["pid"])
    broken = dev.status(UNHEALTHY)
    check_equal((broken["health"], broken["healthy"]), ("unhealthy", False), "two nodes down")
    check_equal(dev.dev("status", wanted=UNHEALTHY)["groups_committing"], 0, "dev status")
    dev.up()
    check_equal(dev.status(OK)["health"], "healthy", "whole again")
    dev.dev("down")
    errors = dev.status(UNHEALTHY)
    check("refused" in errors, errors)


def _if(status, health):
    return status if status["health"] == health else None


@test(timeout=90, long_timeout=900)
def a_failover_drill_loses_nothing(context):
    dev = Dev(context)
    dev.up()
    rounds = 100 if context.long else 6
    code, out, errors = dev.run("drill", "failover", "--dir", dev.directory, "--rounds", rounds, "--output", "json",
                                timeout=800)
    check_equal(code, OK, f"{errors}{out}")
    result = json.loads(out)
    check_equal((result["rounds"], result["lost"], result["misplaced"]), (rounds, 0, 0), "drill")
    check(result["acknowledged"] > 200 * rounds and 0 < result["gap_max_ms"] < 10000, out)
    context.note(f"{rounds} leaders killed: pause p50 {result['gap_p50_ms']} ms, p99 {result['gap_p99_ms']} ms, "
                 f"max {result['gap_max_ms']} ms; {result['acknowledged']} acknowledged, none lost")


@test(timeout=60)
def the_tools_find_leaders_and_controller_by_themselves(context):
    dev = Dev(context)
    dev.up()
    for number in range(3):  # whichever node is named
        bootstrap = f"127.0.0.1:{dev.port + number}"
        code, _, errors = dev.run("-b", bootstrap, "topic", "create", f"t{number}", "-p", "3")
        check_equal(code, OK, errors)
        code, out, errors = dev.run("-b", bootstrap, "topic", "describe", f"t{number}", "-o", "json")
        check_equal(code, OK, errors)
        check_equal([p["latest_offset"] for p in json.loads(out)["partitions"]], [0, 0, 0], "offsets from every leader")
        code, _, errors = dev.run("-b", bootstrap, "topic", "delete", f"t{number}")
        check_equal(code, OK, errors)
    code, out, _ = dev.run("-b", f"127.0.0.1:{dev.port}", "topic", "list")
    check("__esctl_canary" not in out, "the canary is in everybody's way")
    code, out, _ = dev.run("-b", f"127.0.0.1:{dev.port}", "topic", "list", "--internal")
    check("__esctl_canary" in out, out)
