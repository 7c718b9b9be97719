"""Starts, kills and observes one escd of a test's own."""

import ctypes
import os
import random
import re
import signal
import socket
import subprocess
import time

from .protocol import ProtocolError, RawClient

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


class ServerError(Exception):
    """The server did not start, or did not end as asked."""


def _die_with_parent():
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_ports(count, host="127.0.0.1"):
    """Below the range from which the kernel takes ports of outgoing connections: a restart finds its own again."""
    found = []
    while len(found) < count:
        port = random.SystemRandom().randrange(12000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


class Escd:
    """One server process on loopback. The port is picked at the first start and kept for the restarts."""

    def __init__(self, binary, data_dir, log_path):
        self.binary, self.data_dir, self.log_path = str(binary), str(data_dir), str(log_path)
        self.process, self.port = None, None

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def spawn(self, *args, env=None):
        """Starts without waiting; for tests of refused starts use run_to_end."""
        os.makedirs(self.data_dir, exist_ok=True)
        if self.port is None:
            self.port = free_ports(1)[0]
        command = self.command(*args)
        self.log_start = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **(env or {})}, preexec_fn=_die_with_parent)
        return self

    def command(self, *args):
        return [self.binary, "--data", self.data_dir, "--kafka", f"127.0.0.1:{self.port}", *args]

    def start(self, *args, env=None, timeout=30):
        self.spawn(*args, env=env)
        self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=30):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise ServerError(f"escd ended with {self.process.returncode} at start: {self.log_tail()}")
            if self.answers():
                return
            time.sleep(0.02)
        raise ServerError(f"escd not ready after {timeout} s: {self.log_tail()}")

    def answers(self, timeout=2.0):
        try:
            with RawClient(self.port, timeout) as client:
                return client.call("ApiVersions", 0)["error_code"] == 0
        except (OSError, ProtocolError):
            return False

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL, as a crash of the process."""
        if self.alive():
            self.process.kill()
        self.process.wait(30)

    def stop(self, timeout=30):
        """SIGTERM; returns the exit code."""
        if self.alive():
            self.process.terminate()
        return self.wait(timeout)

    def wait(self, timeout=30):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ServerError(f"escd still runs after {timeout} s: {self.log_tail()}") from None

    def log(self, since_start=True):
        try:
            with open(self.log_path, "rb") as file:
                file.seek(self.log_start if since_start else 0)
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def log_tail(self, lines=12):
        return "\n".join(self.log(False).splitlines()[-lines:])

    def wait_log(self, pattern, timeout=10):
        """True when a line that matches appears in the log of this start within the time."""
        deadline = time.monotonic() + timeout
        while True:
            if re.search(pattern, self.log(), re.IGNORECASE):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)

    def _status(self, key):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith(key):
                    return int(line.split()[1])
        return 0

    def rss_mb(self):
        return self._status("VmRSS:") / 1024

    def peak_rss_mb(self):
        return self._status("VmHWM:") / 1024

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_to_end(binary, *args, env=None, timeout=20):
    """Runs escd until it ends by itself; returns (exit code, stdout, stderr)."""
    try:
        done = subprocess.run([str(binary), *args], capture_output=True, text=True, timeout=timeout,
                              env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                              preexec_fn=_die_with_parent)
    except subprocess.TimeoutExpired:
        raise ServerError(f"escd {' '.join(args)} still ran after {timeout} s where it should have refused") from None
    return done.returncode, done.stdout, done.stderr
