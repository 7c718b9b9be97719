"""A full disk and a failing disk."""

import ctypes
import os
import shutil
import subprocess
import threading
import time

from harness import records as rec
from harness.cases import Skip, check, check_equal, eventually, test
from harness.protocol import ProtocolError, RawClient
from harness.records import batch_of

CLONE_NEWNS = 0x20000
RETRIABLE = {5, 6, 7, 19, 20, 56}  # what clients retry by themselves; 56 is KAFKA_STORAGE_ERROR
CONFIG = """
[topics]
segment_bytes = '4MiB'
[tuning.wal]
segment_bytes = '4MiB'
bytes_max = '24MiB'
[tuning.checkpoint]
interval_ms = 500
bytes = '4MiB'
"""


class SmallDisk:
    """A loop-mounted ext4 in a mount namespace of the test's own process: it vanishes with the process."""

    def __init__(self, context, megabytes):
        if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
            raise Skip("needs root and mkfs.ext4")
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
            raise Skip(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
        self.image, self.path = context.dir / "disk.img", context.dir / "disk"
        self.path.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(megabytes << 20)
        for command in (["mount", "--make-rprivate", "/"],
                        ["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", str(self.image)],
                        ["mount", "-o", "loop", str(self.image), str(self.path)]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise Skip(f"{' '.join(command)}: {done.stderr.strip()}")
        context.defer(lambda: subprocess.run(["umount", str(self.path)], check=False))
        self.filler = self.path / "filler"

    def free_mb(self):
        stat = os.statvfs(self.path)
        return stat.f_bavail * stat.f_frsize / (1 << 20)

    def fill(self, leave_mb=0.0):
        with open(self.filler, "ab") as file:
            size = int((self.free_mb() - leave_mb) * (1 << 20))
            try:
                if size > 0:
                    os.posix_fallocate(file.fileno(), os.path.getsize(self.filler), size)
            except OSError:
                pass

    def release(self):
        self.filler.unlink(missing_ok=True)


def setup(context, megabytes=200, filler_mb=60):
    disk = SmallDisk(context, megabytes)
    with open(disk.filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, filler_mb << 20)
    config = context.dir / "escd.toml"
    config.write_text(CONFIG)
    server = context.server(data_dir=disk.path / "data")
    server.start("--config", str(config))
    return disk, server, ("--config", str(config))


def produce_until_refused(client, topic, limit=4000, size=100_000):
    """Returns (number acknowledged, error code)."""
    for number in range(limit):
        answer = client.produce(topic, 0, batch_of([b"%06d" % number + b"x" * size]), timeout_ms=3000)
        if answer["error_code"] != 0:
            return number, answer["error_code"]
    raise AssertionError("the disk never became full")


def read_numbers(client, topic, count):
    got = []
    while len(got) < count:
        answer = client.fetch(topic, 0, len(got), partition_max_bytes=4 << 20, max_bytes=4 << 20)
        check_equal(answer["error_code"], 0, f"fetch at {len(got)} on a full disk")
        fresh = [r for r in rec.read_batches(answer["records"], check_crc=False) if r.offset >= len(got)]
        check(fresh, f"nothing at {len(got)} of {count}")
        got += [int(r.value[:6]) for r in fresh]
    return got


def accepts(server, topic="t"):
    try:
        with RawClient(server.port, 10) as client:
            return client.produce(topic, 0, batch_of([b"again"]), timeout_ms=2000)["error_code"] == 0
    except (OSError, ProtocolError):
        return False


@test(timeout=120)
def a_full_disk_refuses_producers_retriably_and_recovers_by_itself(context):
    disk, server, _ = setup(context)
    with RawClient(server.port, 30) as client:
        for name in ("t", "victim"):
            client.create_topic(name)
        check_equal(client.produce("victim", 0, batch_of([b"v"] * 10))["error_code"], 0, "produce")
        stored, error = produce_until_refused(client, "t")
        check(error in RETRIABLE, f"error {error} is not one that clients retry")
        check(server.alive(), f"the server died: {server.log_tail()}")
        check(server.wait_log("space|full|ENOSPC", 5), f"the log does not mention the full disk: {server.log_tail()}")
        for _ in range(20):  # it stays so, and stays alive
            error = client.produce("t", 0, batch_of([b"x" * 100_000]), timeout_ms=1000)["error_code"]
            check(error in RETRIABLE | {0}, f"error {error}")
            stored += error == 0
        check_equal(read_numbers(client, "t", min(stored, 200))[:5], [0, 1, 2, 3, 4], "reads go on")
        check_equal(client.metadata(None)["topics"][0]["error_code"], 0, "metadata goes on")
        check_equal(client.list_offset("t", 0, -1)["offset"], stored, "offsets go on")
        check_equal(client.delete_topic("victim")["error_code"], 0, "deletes go on")
    context.note(f"{stored} records of 100 kB stored, {disk.free_mb():.1f} MB free, {server.rss_mb():.0f} MB memory")
    disk.release()
    began = time.monotonic()
    eventually(lambda: accepts(server), 30, 0.2, "service resumes when space returns")
    context.note(f"service resumed {time.monotonic() - began:.1f} s after space returned")
    server.kill()
    server.start()
    with RawClient(server.port, 30) as client:
        check(client.list_offset("t", 0, -1)["offset"] >= stored + 1, "records after the restart")


@test(timeout=120)
def deleting_a_topic_frees_a_full_disk(context):
    disk, server, _ = setup(context)
    with RawClient(server.port, 30) as client:
        client.create_topic("t")
        client.create_topic("bulk")
        produce_until_refused(client, "bulk")
        check_equal(client.delete_topic("bulk")["error_code"], 0, "delete on a full disk")
    eventually(lambda: accepts(server), 40, 0.2, "service resumes after the delete")


@test(timeout=120)
def a_server_starts_on_a_full_disk_and_resumes_later(context):
    disk, server, arguments = setup(context)
    with RawClient(server.port, 30) as client:
        client.create_topic("t")
        stored, _ = produce_until_refused(client, "t")
    disk.fill()
    server.kill()
    disk.fill()
    server.start(*arguments)
    with RawClient(server.port, 30) as client:
        check_equal(client.list_offset("t", 0, -1)["offset"] >= stored, True, "records on the full disk")
        check_equal(read_numbers(client, "t", min(stored, 100))[:3], [0, 1, 2], "reads")
    disk.release()
    eventually(lambda: accepts(server), 30, 0.2, "service resumes when space returns")


@test(timeout=150)
def a_stock_producer_gets_through_a_full_disk_without_an_error(context):
    try:
        import confluent_kafka
    except ImportError:
        raise Skip("python3-confluent-kafka is not installed") from None
    disk, server, _ = setup(context)
    with RawClient(server.port, 30) as client:
        client.create_topic("t")
        stored, _ = produce_until_refused(client, "t")
    failures, delivered = [], []
    producer = confluent_kafka.Producer({"bootstrap.servers": server.bootstrap, "acks": "all", "linger.ms": 5,
                                         "message.timeout.ms": 90000, "retry.backoff.ms": 200, "log_level": 0,
                                         "message.send.max.retries": 100000})
    for number in range(200):
        producer.produce("t", b"later" + b"y" * 50_000,
                         on_delivery=lambda e, m: failures.append(str(e)) if e else delivered.append(m.offset()))
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        producer.poll(0.2)
    check(not failures, f"the producer failed while the disk was full: {failures[:2]}")
    disk.release()
    check_equal(producer.flush(60), 0, "records not delivered after space returned")
    check(not failures and len(delivered) == 200, f"{len(delivered)} delivered, failures {failures[:2]}")


@test(timeout=60)
def a_failed_write_stops_acknowledgements_and_ends_the_server(context):
    server = context.server()
    server.start(env={"ESC_FAULT_WAL_EIO_AFTER_FRAMES": "60"})
    acknowledged, stopped = [], threading.Event()

    def load():
        try:
            with RawClient(server.port, 10) as client:
                client.create_topic("t")
                for number in range(3000):
                    answer = client.produce("t", 0, batch_of([b"%d" % number]), timeout_ms=3000)
                    if answer["error_code"] != 0:
                        break
                    acknowledged.append((answer["base_offset"], number))
        except (OSError, ProtocolError):
            pass
        stopped.set()

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    check(stopped.wait(30), "the producer was neither answered nor disconnected")
    if len(acknowledged) == 3000:
        context.skip("this escd has no fault injection (ESC_FAULT_WAL_EIO_AFTER_FRAMES)")
    code = server.wait(20)
    check(code > 0, f"exit code {code}: a failed write must not end in success or a crash: {server.log_tail()}")
    check(server.wait_log("EIO|Input/output|I/O error|failed write|write failed", 2),
          f"the log does not say why: {server.log_tail()}")
    check(acknowledged, "nothing was acknowledged before the fault")
    server.start()
    with RawClient(server.port) as client:
        end = client.list_offset("t", 0, -1)["offset"]
        check(end > acknowledged[-1][0], f"the log ends at {end}, acknowledged up to {acknowledged[-1][0]}")
        values = {}
        while len(values) < end:
            for record in rec.read_batches(client.fetch("t", 0, len(values))["records"]):
                values[record.offset] = int(record.value)
        for offset, number in acknowledged:
            check_equal(values[offset], number, f"acknowledged offset {offset}")
        check_equal(client.produce("t", 0, batch_of([b"1"]))["error_code"], 0, "service after the restart")
    context.note(f"{len(acknowledged)} acknowledged before the fault; {server.log(False).count(chr(10))} log lines")
