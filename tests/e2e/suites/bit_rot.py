"""Bits flip in the files of one node of three, and clocks jump. The node must notice, put its data aside, and learn them again from the
others; nothing acknowledged is lost, and in the end all nodes hold the same bytes."""

import os
import random
import struct
import time
import urllib.request
from pathlib import Path

from harness.cases import check, check_equal, eventually, test
from harness.cluster import TUNING, Cluster, Load
from harness.records import batch_of, read_batches
from harness.server import free_ports
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


def wal_of(directory):
    """Of a group: beside its data, or in the node's directory for logs."""
    elsewhere = directory.parent.with_name(directory.parent.name + "-wal") / directory.name / "wal"
    return elsewhere if elsewhere.exists() else directory / "wal"


def covered_frames(directory):
    """(file, position, payload bytes) of every frame that a later one calls durable."""
    frames, durable = [], 0
    for path in sorted(wal_of(directory).glob("*")):
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


def under_checksum(path, below, generator):
    """A place that a record batch's checksum, or its place in the log, vouches for: not the leader epoch."""
    data, starts = path.read_bytes(), [0]
    while starts[-1] + 12 < len(data) and starts[-1] < below:
        starts.append(starts[-1] + 12 + struct.unpack_from(">i", data, starts[-1] + 8)[0])
    epochs = {start + i for start in starts for i in range(12, 16)}
    return generator.choice([at for at in range(min(below, len(data))) if at not in epochs])


def rot_segment(directory, generator):
    """Of a partition's newest segment, which is read whole at the start."""
    segments = [p for p in directory.glob("partitions/*/*.log") if p.stat().st_size > 1000]
    newest = generator.choice([p for p in segments if p == max(p.parent.glob("*.log"))])
    return flip(newest, under_checksum(newest, 500, generator), generator)


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
    log = wal_of(group_of(node, group))
    if log.parent.parent != Path(node.data_dir):
        check(log.with_name("wal" + aside[0].split(f"group-{group}")[1]).exists(), f"{what}: the log is not put aside")
    node.wait_ready()
    check_equal((node.pid, node.alive()), (pid, True), f"{what}: the same process serves")
    taken_in(cluster, node, {n: max(0, at - 20000) for n, at in since.items()}, groups=[group])


@test(timeout=120, long_timeout=1800)
def a_node_with_flipped_bits_puts_them_aside_and_learns_from_the_others(context):
    seed = int(os.environ.get("ESC_E2E_SEED", random.randrange(1 << 30)))
    generator = random.Random(seed)
    context.note(f"seed {seed}")
    cluster = Cluster(context, tuning=OFTEN)
    apart, command = cluster[3], cluster[3].command
    admin, = free_ports(1)
    apart.command = lambda *args: command("--wal", apart.data_dir + "-wal", "--admin", f"127.0.0.1:{admin}", *args)
    cluster.start()
    load = Load(cluster)
    load.wait_progress()
    rots = [rot_log, rot_segment, rot_file("checkpoint"), rot_file("incarnation")]
    for number in range(40 if context.long else 4):
        node, group = generator.choice(cluster.nodes), generator.randrange(cluster.groups)
        node = apart if number == 0 else node
        load.run(0.7)
        node.kill()
        what = rots[number % len(rots)](group_of(node, group), generator)
        context.note(what)
        load.wait_progress(what="acknowledgements by the other two")
        node.spawn()
        starts_anew(cluster, node, group, what)
        if node is apart:  # a process that starts anew has its admin port again
            check_equal(urllib.request.urlopen(f"http://127.0.0.1:{admin}/livez", timeout=5).status, 200, "/livez")
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


SMALL_MEMORY = TUNING + """
[tuning.memory]
frame_arena_bytes = '6MiB'
[tuning.batch]
frame_bytes_max = '256KiB'
[topics]
segment_bytes = '1MiB'
max_message_bytes = '128KiB'
"""


@test(timeout=90)
def a_damaged_segment_that_a_consumer_meets_is_learned_again(context):
    """Found while it runs: the wrong bytes are served to nobody, and another node serves the right ones."""
    generator = random.Random(11)
    cluster = Cluster(context, tuning=SMALL_MEMORY).start()
    cluster.create_topic("t", 1)
    values = [b"%06d" % n + generator.randbytes(30000) for n in range(200)]  # 6 MB: the beginning is in files only
    for first in range(0, 200, 3):
        cluster.produce("t", 0, values[first:first + 3])
    leader = cluster[cluster.leaders("t")[0]]
    first, = [p for p in Path(leader.data_dir).glob("group-*/partitions/*-t-0/00000000000000000000.log")]
    group = int(first.parent.parent.parent.name.split("-")[1])
    eventually(lambda: first.stat().st_size > 800000, 15, what="the first segment is full")
    context.note(flip(first, 500000, generator))
    with leader.connect() as client:
        offset, codes = 0, []
        while offset < 60 and not codes:
            answer = client.fetch("t", 0, offset, max_wait_ms=10)
            codes += [answer["error_code"]] if answer["error_code"] else []
            for record in read_batches(answer["records"]) if answer["records"] else []:
                check_equal(record.value, values[record.offset], f"offset {record.offset} next to the damage")
                offset = max(offset, record.offset + 1)
    check_equal(codes, [56], "the error of the damaged batch")
    check(leader.wait_log(f"group_damage_found group={group} ", 5), leader.log_tail())
    starts_anew(cluster, leader, group, "a bit of a segment")
    check_equal([r.value for r in cluster.read("t", 0)], values, "what is read afterwards")
    cluster.stop_all()
    cluster.check_equal_logs()


@test(timeout=90)
def a_damaged_segment_that_nobody_reads_is_found_all_the_same(context):
    """Of a follower: it serves no consumer, and its start looks at the index only. It reads everything once, slowly."""
    generator = random.Random(12)
    cluster = Cluster(context, tuning=SMALL_MEMORY + "[tuning.checkpoint]\ninterval_ms = 200\n").start()
    cluster.create_topic("t", 1)
    values = [b"%06d" % n + generator.randbytes(30000) for n in range(100)]
    for first in range(0, 100, 3):
        cluster.produce("t", 0, values[first:first + 3])
    leader = cluster.leaders("t")[0]
    node = cluster[leader % 3 + 1]
    pattern = "group-*/partitions/*-t-0/00000000000000000000."
    eventually(lambda: list(Path(node.data_dir).glob(pattern + "index")), 15, what="the first segment is sealed")
    time.sleep(0.5)
    node.kill()
    first, = Path(node.data_dir).glob(pattern + "log")
    group = int(first.parent.parent.parent.name.split("-")[1])
    context.note(flip(first, 300000, generator))
    node.spawn()
    node.wait_ready()
    check(node.wait_log(f"scrub_found group={group} ", 15), f"it is not found: {node.log_tail()}")
    starts_anew(cluster, node, group, "a bit of a follower's segment")
    check_equal([r.value for r in cluster.read("t", 0)], values, "what is read afterwards")
    cluster.stop_all()
    cluster.check_equal_logs()


@test(timeout=90, long_timeout=900)
def clocks_that_jump_change_nothing(context):
    """The wall clock of one node after the other jumps an hour, a day, a year, both ways, under load."""
    shim = context.program("tests/e2e/libwall_clock.so")
    if b"__asan_init" in context.escd.read_bytes() or b"__tsan_init" in context.escd.read_bytes():
        context.skip("a sanitizer's runtime wants to be loaded first")
    seed = int(os.environ.get("ESC_E2E_SEED", random.randrange(1 << 30)))
    generator = random.Random(seed)
    context.note(f"seed {seed}")
    cluster = Cluster(context, tuning=OFTEN)
    offsets = {n.number: context.dir / f"clock-{n.number}" for n in cluster.nodes}

    def spawn(node):
        node.spawn(env={"LD_PRELOAD": str(shim), "ESC_E2E_CLOCK": str(offsets[node.number])})

    for node in cluster.nodes:
        offsets[node.number].write_bytes(struct.pack("<q", 0))
        spawn(node)
    for node in cluster.nodes:
        node.wait_ready()
    load = Load(cluster)
    load.wait_progress()
    for number in range(40 if context.long else 8):
        node = generator.choice(cluster.nodes)
        seconds = generator.choice((-1, 1)) * generator.choice((1, 60, 3600, 86400, 365 * 86400))
        with open(offsets[node.number], "r+b") as file:
            file.write(struct.pack("<q", seconds))
        load.run(0.3)
        if number == 3:
            node.kill()
            spawn(node)
            node.wait_ready()
        load.wait_progress(what=f"acknowledgements after the clock of node {node.number} jumped to {seconds} s")
    jumped = [n for n in cluster.nodes if struct.unpack("<q", offsets[n.number].read_bytes())[0]]
    check(jumped, "no clock was wrong in the end")
    year = time.strftime("%Y-", time.gmtime())
    load.finish()
    context.note(f"lines of other years in the logs: "
                 f"{sum(not line.startswith(year) for n in jumped for line in n.log(False).splitlines())}")
