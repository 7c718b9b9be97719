"""Truncated and flipped bytes in the write-ahead log of a killed server, at process level.

The server must either serve exactly a prefix of what was durable, or refuse to start and name file and
position. It must never serve a wrong byte and never crash, and a refused start must not change a file.
"""

import hashlib
import os
import random
import re
import shutil
import subprocess
import time
from pathlib import Path

from harness import records as rec
from harness.cases import check, check_equal, test
from harness.protocol import RawClient
from harness.records import batch_of
from harness.server import Escd, ServerError

PARTITIONS = 3


def fill(server, rounds):
    """Returns the values acknowledged for each partition."""
    stored = [[] for _ in range(PARTITIONS)]
    with RawClient(server.port) as client:
        client.create_topic("t", PARTITIONS)
        for i in range(rounds):
            values = [b"%d-%d-" % (i, j) + b"z" * (i * 61 % 3000) for j in range(3)]
            answer = client.produce("t", i % PARTITIONS, batch_of(values))
            check_equal(answer["error_code"], 0, "produce")
            stored[i % PARTITIONS] += values
    return stored


def wal_files(directory):
    """Segment files that hold frames: they carry the magic of a frame after their header block."""
    found = []
    for path in sorted(Path(directory).rglob("*")):
        if path.is_file() and path.stat().st_size >= 8192:
            with open(path, "rb") as file:
                if file.read(4) == b"ESCS" and file.seek(4096) and file.read(4) == b"ESCF":
                    found.append(path)
    return found


def used_bytes(path):
    """End of the last block that is not all zero."""
    data = path.read_bytes()
    return (len(data.rstrip(b"\0")) + 4095) // 4096 * 4096


def digest(directory):
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(Path(directory).rglob("*"))
            if p.is_file() and p.stat().st_size >= 8192}


def served(server):
    """The values of each partition as the server now gives them."""
    out = []
    with RawClient(server.port) as client:
        if not client.metadata(["t"])["topics"] or client.metadata(["t"])["topics"][0]["error_code"] != 0:
            return [[] for _ in range(PARTITIONS)]
        for partition in range(PARTITIONS):
            values, end = [], client.list_offset("t", partition, -1)["offset"]
            while len(values) < end:
                answer = client.fetch("t", partition, len(values))
                check_equal(answer["error_code"], 0, f"fetch of partition {partition} at {len(values)}")
                fresh = [r for r in rec.read_batches(answer["records"]) if r.offset >= len(values)]
                check(fresh, f"partition {partition}: nothing at {len(values)} of {end}")
                values += [r.value for r in fresh]
            out.append(values)
    return out


def truncate(path, generator, used):
    position = generator.randrange(0, used)
    os.truncate(path, position)
    return f"truncated at {position}"


def flip(path, generator, used):
    position = generator.randrange(0, used)
    with open(path, "r+b") as file:
        file.seek(position)
        old = file.read(1)[0]
        file.seek(position)
        file.write(bytes([old ^ (1 << generator.randrange(8))]))
    return f"flipped a bit at {position}"


def zero(path, generator, used):
    position = generator.randrange(0, used) // 4096 * 4096
    with open(path, "r+b") as file:
        file.seek(position)
        file.write(bytes(4096))
    return f"zeroed the block at {position}"


def examine(context, original, stored, number, generator, counts):
    copy = context.dir / f"copy-{number}"
    shutil.copytree(original, copy)
    path = generator.choice(wal_files(copy))
    method = generator.choice((truncate, flip, flip, zero))
    what = method(path, generator, used_bytes(path))
    label = f"{path.relative_to(copy)} {what}"
    if context.esctl.exists():
        done = subprocess.run([context.esctl, "wal", "dump", copy, "--entries"], capture_output=True, timeout=30)
        check(done.returncode in (0, 1), f"{label}: esctl wal dump ended with {done.returncode}")
    before = digest(copy)
    server = Escd(context.escd, copy, context.dir / f"copy-{number}.log")
    context.servers.append(server)
    try:
        server.start()
    except ServerError:
        code = server.process.poll()
        check(code is not None and code > 0, f"{label}: the server crashed or hung (exit {code}): {server.log_tail()}")
        text = server.log()
        check(path.name in text and re.search(r"\d", text.split(path.name, 1)[1]),
              f"{label}: the refusal does not name file and position: {server.log_tail()}")
        check_equal(digest(copy), before, f"{label}: a refused start changed files")
        counts["refused"] += 1
    else:
        for partition, values in enumerate(served(server)):
            check(values == stored[partition][:len(values)], f"{label}: partition {partition} serves wrong records")
            # A watermark behind the last record says that all were durable: only a cut that takes it too may
            # make the log shorter without a word.
            check(method is truncate or len(values) == len(stored[partition]),
                  f"{label}: partition {partition} silently lost {len(stored[partition]) - len(values)} records")
        server.kill()
        counts["served"] += 1
    shutil.rmtree(copy)


@test(timeout=200, long_timeout=1800)
def a_damaged_log_is_served_as_a_prefix_or_refused_with_file_and_position(context):
    seed = random.randrange(1 << 30)
    generator = random.Random(seed)
    config = context.dir / "escd.toml"
    config.write_text("[tuning.checkpoint]\ninterval_ms = 600000\nbytes = '100MiB'\n")
    server = context.server("original").start("--config", str(config))
    stored = fill(server, 120)
    time.sleep(0.5)  # the idle log writes its watermark
    server.kill()
    check(wal_files(server.data_dir), "no write-ahead log file found: has its format changed?")
    counts = {"served": 0, "refused": 0}
    for number in range(400 if context.long else 30):
        examine(context, server.data_dir, stored, number, generator, counts)
    context.note(f"seed {seed}: {counts['served']} served, {counts['refused']} refused")
