"""escd processes of a measurement: one node, or a cluster on this machine, in a temporary directory."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

START_TIMEOUT_S = 20
STOP_TIMEOUT_S = 20
SETTLE_S = 7            # leaders move to their preferred nodes
STOPPED_S, RUNNING_S = 0.2, 0.8


def free_ports(count):
    """Different from each other, below the range from which the kernel gives to clients."""
    found = []
    for port in random.sample(range(15000, 32000), 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                found.append(port)
            except OSError:
                continue
        if len(found) == count:
            return found
    raise RuntimeError(f"no {count} free ports")


def stolen_and_all_ticks():
    """CPU time that the host gave to others, and all of it."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return fields[7], sum(fields)


def steal_percent(ticks):
    """Of the CPUs, since `ticks` were read."""
    stolen, every = (now - was for now, was in zip(stolen_and_all_ticks(), ticks))
    return 100 * stolen / max(every, 1)


class Server:
    """One escd on a free port with a directory of its own; `cluster` is the text of its [cluster] table."""

    def __init__(self, options, profile, directory, number, port, cluster, arguments):
        self.directory, self.number, self.port = directory, number, port
        directory.mkdir()
        command = [str(options.build / "escd"), "--data", str(directory / "data"), "--profile", profile]
        if cluster:
            config = directory / "escd.toml"
            config.write_text(f"{cluster}[node]\nid = {number}\n")
            # Each would pin its cores to the same CPUs: they do not know of each other.
            command += ["--config", str(config), "--pin", "off"]
        else:
            command += ["--kafka", f"127.0.0.1:{port}"]
        self.log = open(directory / "escd.log", "wb")
        self.process = subprocess.Popen(command + list(arguments) + options.escd, stdout=self.log, stderr=self.log)

    def wait_ready(self):
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"escd did not start:\n{self.log_tail()}")

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self):
        return next(int(line.split()[1]) / 1024
                    for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
                    if line.startswith("VmRSS"))

    def disk_mb(self):
        return sum(path.stat().st_blocks for path in (self.directory / "data").rglob("*") if path.is_file()) / 2048

    def log_tail(self):
        return "\n".join((self.directory / "escd.log").read_text(errors="replace").splitlines()[-15:])

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


class Servers:
    """All nodes of a cluster, or the only one, below one temporary directory."""

    def __init__(self, options, profile, arguments):
        self.options = options
        self.directory = Path(tempfile.mkdtemp(prefix="esc-perf.", dir=options.dir))
        ports = free_ports(2 * options.nodes)
        peers = ", ".join(f'{{ id = {n + 1}, peer = "127.0.0.1:{ports[2 * n + 1]}", kafka = "127.0.0.1:{ports[2 * n]}" }}'
                          for n in range(options.nodes))
        cluster = ""
        if options.nodes > 1:
            cluster = f"[cluster]\nid = 'perf'\nsecret = 'measured in the open'\nnodes = [{peers}]\n"
        self.nodes = [Server(options, profile, self.directory / f"node-{n + 1}", n + 1, ports[2 * n], cluster, arguments)
                      for n in range(options.nodes)]

    def wait_ready(self):
        for node in self.nodes:
            node.wait_ready()
        if len(self.nodes) > 1:
            time.sleep(SETTLE_S)
        self.fresh_disk_mb = sum(node.disk_mb() for node in self.nodes)

    def alive(self):
        return all(node.process.poll() is None for node in self.nodes)

    def cpu_seconds(self):
        return [node.cpu_seconds() for node in self.nodes]

    def rss_mb_of_largest(self):
        return max(node.rss_mb() for node in self.nodes)

    def idle_cores(self, seconds):
        """Of a core, what the busiest node takes when nobody asks it for anything."""
        before = self.cpu_seconds()
        time.sleep(seconds)
        return max((now - was) / seconds for now, was in zip(self.cpu_seconds(), before))

    def esctl(self, *words):
        done = subprocess.run([str(self.options.build / "esctl"), "--bootstrap", f"127.0.0.1:{self.nodes[0].port}",
                               "--output", "json", *words], capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"esctl {' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def follower_of(self, topic):
        """A node that leads no partition of the topic, and of those the one that leads the fewest groups."""
        leaders = {partition["leader"] for partition in self.esctl("topic", "describe", topic)["partitions"]}
        led = [group["leader"] for group in self.esctl("cluster", "status")["groups"]]
        free = [node for node in self.nodes if node.number not in leaders]
        if not free:
            raise RuntimeError(f"every node leads a partition of {topic}")
        return min(free, key=lambda node: led.count(node.number))

    def log(self):
        return "".join((node.directory / "escd.log").read_text(errors="replace") for node in self.nodes)

    def log_tail(self):
        return "\n".join(node.log_tail() for node in self.nodes)

    def stop(self):
        for node in self.nodes:
            node.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class SlowNode:
    """While it is open, the node stands still for 200 ms of every second."""

    def __init__(self, node):
        self.node, self.over = node, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.over.wait(RUNNING_S):
            self.node.process.send_signal(signal.SIGSTOP)
            time.sleep(STOPPED_S)
            self.node.process.send_signal(signal.SIGCONT)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
