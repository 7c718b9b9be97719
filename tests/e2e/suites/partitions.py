"""Network partitions, in network namespaces: one per node, joined by a bridge.

A direction is cut by giving the destination a false link-layer address: packets leave and nobody takes them, as
with a broken switch. Neither end is told.
"""

import ctypes
import os
import random
import shutil
import subprocess
import time

from harness.cases import Skip, check, check_equal, eventually, test
from harness.cluster import TUNING, Cluster, Load
from harness.protocol import ProtocolError
from harness.records import batch_of

CLONE_NEWNET = 0x40000000
NOBODY = "02:00:00:00:00:99"


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Skip(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """The test's own process moves into a network namespace with the bridge; each node gets one of its own.

    Namespaces are held by a sleeping process each instead of a name, so that nothing outlives the test.
    """

    def __init__(self, context, count=3):
        if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("nsenter") is None:
            raise Skip("needs root, ip and nsenter")
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            raise Skip(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "addr", "add", "10.77.0.254/24", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        self.holders, self.hosts, self.prefixes = {}, [], {}
        for number in range(1, count + 1):
            holder = subprocess.Popen(["unshare", "--net", "--kill-child", "sleep", "infinity"])
            context.defer(holder.kill)
            self.holders[number] = holder.pid
            self.prefixes[number] = ("nsenter", "--target", str(holder.pid), "--net", "--")
            self.hosts.append(f"10.77.0.{number}")
            own = os.readlink("/proc/self/ns/net")
            eventually(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own, 5, 0.01, "namespace")
            run("ip", "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
            run("ip", "link", "set", f"v{number}", "master", "br0", "up")
            self.inside(number, "ip", "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            self.inside(number, "ip", "link", "set", "eth0", "up")
            self.inside(number, "ip", "link", "set", "lo", "up")

    def inside(self, number, *command):
        return run(*self.prefixes[number], *command)

    def cut(self, source, target):
        """From now on nothing of `source` reaches `target`."""
        self.inside(source, "ip", "neigh", "replace", f"10.77.0.{target}", "lladdr", NOBODY, "nud", "permanent",
                    "dev", "eth0")

    def heal(self, source, target):
        self.inside(source, "ip", "neigh", "del", f"10.77.0.{target}", "dev", "eth0")

    def others(self, number):
        return [n for n in self.holders if n != number]


def cluster_in(context, tuning=TUNING):
    network = Network(context)
    return network, Cluster(context, tuning=tuning, hosts=network.hosts, prefixes=network.prefixes).start()


def acknowledges(node, topic, partition):
    try:
        with node.connect(3) as client:
            return client.produce(topic, partition, batch_of([b"probe"]), timeout_ms=1500)["error_code"] == 0
    except (OSError, ProtocolError):
        return False


def partition_of_the_leader(context, hears, is_heard):
    """The old leader can be reached by clients all the time, but not (or one way only) by its peers."""
    def each_direction(action, number):
        for other in network.others(number):
            if not is_heard:
                action(number, other)
            if not hears:
                action(other, number)

    network, cluster = cluster_in(context)
    load = Load(cluster, reorders=True)
    cluster.create_topic("probe", 3)
    for _ in range(6 if context.long else 1):
        number = cluster.leaders("load")[0]
        old = cluster[number]
        led = [p for p, n in enumerate(cluster.leaders("probe")) if n == number]
        began = time.monotonic() * 1000
        each_direction(network.cut, number)
        eventually(lambda: not acknowledges(old, "probe", led[0]), 5, 0.05, "the old leader stops acknowledging")
        eventually(lambda: _leaders_of(cluster, number), 10, 0.05, "the others elect leaders")
        load.wait_progress(what="acknowledgements by the majority")
        check(not any(acknowledges(old, "probe", p) for p in range(3)), "the cut-off node acknowledges")
        gap = max(load.longest_gap_ms(p, began) for p in range(3))
        each_direction(network.heal, number)
        load.run(1.5)
        load.wait_progress(what="acknowledgements after the partition healed")
        context.note(f"leader {number} cut off: longest pause of acknowledgements {gap:.0f} ms")
        check_equal(old.alive(), True, "the old leader lives")
    load.run(0.5)
    load.finish()


def _leaders_of(cluster, without):
    """What the nodes of the majority tell of leaders: none of them on the node that is cut off."""
    for node in cluster.nodes:
        if node.number == without:
            continue
        try:
            with node.connect(2) as client:
                parts = client.metadata(["load"])["topics"][0]["partitions"]
                if not parts or any(p["leader_id"] in (without, -1) for p in parts):
                    return False
        except (OSError, ProtocolError):
            return False
    return True


@test(timeout=90, long_timeout=400)
def leader_cut_off_both_ways(context):
    partition_of_the_leader(context, hears=False, is_heard=False)


@test(timeout=90, long_timeout=400)
def leader_that_hears_but_is_not_heard(context):
    partition_of_the_leader(context, hears=True, is_heard=False)


@test(timeout=90, long_timeout=400)
def leader_that_is_heard_but_does_not_hear(context):
    partition_of_the_leader(context, hears=False, is_heard=True)


@test(timeout=90)
def a_client_that_knows_only_the_cut_off_leader_finds_the_others(context):
    """Its one connection is to a node that lives, and will not learn of any leader."""
    network, cluster = cluster_in(context)
    cluster.create_topic("load", 1)
    number = cluster.leaders("load")[0]
    load = Load(cluster, partitions=1, reorders=True, bootstrap=cluster[number].bootstrap)
    for other in network.others(number):
        network.cut(other, number)
    eventually(lambda: _leaders_of(cluster, number), 10, 0.05, "the others elect leaders")
    cut = time.monotonic()
    load.wait_progress(what="acknowledgements by the majority")
    context.note(f"found {time.monotonic() - cut:.1f} s after the election")
    for other in network.others(number):
        network.heal(other, number)
    load.run(1.5)
    load.wait_progress(what="acknowledgements after the partition healed")
    load.finish()


@test(timeout=90, long_timeout=400)
def follower_cut_off_does_not_disturb_and_rejoins(context):
    network, cluster = cluster_in(context)
    load = Load(cluster, reorders=True)
    leaders = cluster.leaders("load")
    number = next((n for n in (1, 2, 3) if n not in leaders), leaders[2])
    for other in network.others(number):
        network.cut(number, other)
        network.cut(other, number)
    load.wait_progress(what="acknowledgements without it")
    load.run(2)
    epochs = _epochs(cluster, leaders[0])
    for other in network.others(number):
        network.heal(number, other)
        network.heal(other, number)
    load.run(1.5)
    if number not in leaders:  # PreVote: its return deposes nobody
        check_equal(_epochs(cluster, leaders[0]), epochs, "leader epochs after the return")
    load.wait_progress(what="acknowledgements with it again")
    load.finish()


def _epochs(cluster, number):
    with cluster[number].connect() as client:
        return sorted((p["index"], p["leader_epoch"]) for p in client.metadata(["load"])["topics"][0]["partitions"])


@test(timeout=60)
def zero_copy_on_virtual_links_is_given_up_and_loses_nothing(context):
    """Between namespaces the kernel copies in any case: the first large send says so, the next ones are plain."""
    _, cluster = cluster_in(context, TUNING + "[tuning.net]\nzero_copy_send = 'auto'\n")
    cluster.create_topic("big", 3)
    leaders = cluster.leaders("big")
    for partition, number in enumerate(leaders):
        with cluster[number].connect(5) as client:
            for base in range(4):
                answer = client.produce("big", partition, batch_of([random.randbytes(900_000)]), timeout_ms=10_000)
                check_equal((answer["error_code"], answer["base_offset"]), (0, base), "produce")
    eventually(lambda: any("peer_zero_copy_off" in cluster[n].log() for n in leaders), 5, 0.1, "a leader says so")
    cluster.stop_all()
    cluster.check_equal_logs()
