"""Bits flip in the files of one node of three. It must notice, put its data aside, and learn them again from the
others; nothing acknowledged is lost, and in the end all nodes hold the same bytes."""

import os
import random
import struct
import time
from pathlib import Path

from harness.cases import check, check_equal, eventually, test
from harness.cluster import TUNING, Cluster, Load
from suites.members import log_ends, taken_in

BLOCK = 4096
# docs/formats/wal.md
LSN_AT, DURABLE_AT, PAYLOAD_BYTES_AT, HEADER_BYTES = 48, 80, 100, 128

OFTEN = TUNING + "[tuning.checkpoint]\ninterval_ms = 200\n"


def flip(path, position, generator):
    bit = generator.randrange(8)
    with open(path, "r+b") as file:
        file.seek(position)
        old = file.read(1)[0]
        file.seek(position)
        file.write(bytes([old ^ (1 << bit)]))
    return f"bit {bit} of byte {position} of {path}"


def group_of(node, number):
    return Path(node.data_dir) / f"group-{number}"


def covered_frames(directory):
    """(file, position, payload bytes) of every frame that a later one calls durable."""
    frames, durable = [], 0
    for path in sorted(directory.glob("wal/*")):
        data = path.read_bytes()
        for at in range(BLOCK, len(data), BLOCK):
            if data[at:at + 4] == b"ESCF":
                lsn, = struct.unpack_from("<Q", data, at + LSN_AT)
                durable = max(durable, struct.unpack_from("<Q", data, at + DURABLE_AT)[0])
                frames.append((lsn, path, at, struct.unpack_from("<I", data, at + PAYLOAD_BYTES_AT)[0]))
    return [(path, at, payload) for lsn, path, at, payload in frames if lsn <= durable]


def rot_log(directory, generator):
    path, at, payload = generator.choice(covered_frames(directory))
    return flip(path, at + generator.randrange(HEADER_BYTES + payload), generator)


def rot_segment(directory, generator):
    """Of a partition's newest segment, which is read whole at the start."""
    segments = [p for p in directory.glob("partitions/*/*.log") if p.stat().st_size > 1000]
    newest = generator.choice([p for p in segments if p == max(p.parent.glob("*.log"))])
    return flip(newest, generator.randrange(500), generator)


def rot_file(name):
    def rot(directory, generator):
        path = directory / name
        return flip(path, generator.randrange(path.stat().st_size), generator)
    return rot


def starts_anew(cluster, node, group, what):
    """The node says what it does, the data are aside, and it is a voter again."""
    pid, since = node.pid, log_ends(cluster)
    for word in ("group_damaged", "starting_anew", "group_put_aside"):
        check(node.wait_log(word, 15), f"{what}: no {word}: {node.log_tail()}")
    aside = [p.name for p in Path(node.data_dir).iterdir() if p.name.startswith(f"group-{group}.damaged-")]
    check(aside, f"{what}: nothing is put aside")
    node.wait_ready()
    check_equal((node.pid, node.alive()), (pid, True), f"{what}: the same process serves")
    taken_in(cluster, node, {n: max(0, at - 20000) for n, at in since.items()}, groups=[group])


@test(timeout=120, long_timeout=1800)
def a_node_with_flipped_bits_puts_them_aside_and_learns_from_the_others(context):
    seed = int(os.environ.get("ESC_E2E_SEED", random.randrange(1 << 30)))
    generator = random.Random(seed)
    context.note(f"seed {seed}")
    cluster = Cluster(context, tuning=OFTEN).start()
    load = Load(cluster)
    load.wait_progress()
    rots = [rot_log, rot_segment, rot_file("checkpoint"), rot_file("incarnation")]
    for number in range(40 if context.long else 4):
        node, group = generator.choice(cluster.nodes), generator.randrange(cluster.groups)
        load.run(0.7)
        node.kill()
        what = rots[number % len(rots)](group_of(node, group), generator)
        context.note(what)
        load.wait_progress(what="acknowledgements by the other two")
        node.spawn()
        starts_anew(cluster, node, group, what)
    load.finish()


@test(timeout=60)
def with_two_of_three_damaged_the_group_stops_and_says_so(context):
    generator = random.Random(7)
    cluster = Cluster(context, tuning=OFTEN).start()
    cluster.create_topic("t", 3)
    for partition in range(3):
        cluster.produce("t", partition, [b"acknowledged"])
    time.sleep(0.5)
    for node in cluster.nodes:
        node.kill()
    for node in cluster.nodes[:2]:
        rot_log(group_of(node, 1), generator)
    for node in cluster.nodes:
        node.spawn()
    for node in cluster.nodes[:2]:
        check(node.wait_log("group_put_aside group=1", 10), node.log_tail())
        check(node.wait_log("group_stopped group=1 ", 10), f"it does not say that the group stops: {node.log_tail()}")
    for node in cluster.nodes:
        check("group_leading group=1 " not in node.log(), f"node {node.number} leads what nobody can prove")
    # The other groups serve.
    def served():
        found = set()
        for node in cluster.nodes:
            with node.connect() as client:
                for partition in range(3):
                    answer = client.fetch("t", partition, 0, max_wait_ms=10)
                    if answer["error_code"] == 0 and answer["records"]:
                        found.add(partition)
        return found
    eventually(lambda: len(served()) == 2, 10, what="the partitions of the other two groups are read")
