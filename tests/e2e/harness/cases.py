"""Test registration, the context given to each test, and the runner.

Every test runs in a forked process of its own process group: it may hang, leak or crash without harming
the next one, and ending it never touches a process that is not its own.
"""

import importlib
import os
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

from .server import Escd

_TESTS = []
MODULES = ("clients", "protocol_edges", "esctl", "groups", "startup", "damage", "disk_faults", "hostile", "chaos",
           "cluster", "partitions", "local_cluster", "members", "nodes", "producers", "dedup", "admin", "bit_rot",
           "compaction", "ops")


class Skip(Exception):
    """This machine lacks what the test needs."""


class Case:
    def __init__(self, function, name, timeout, long_timeout, long_only):
        self.function, self.name = function, name
        self.timeout, self.long_timeout, self.long_only = timeout, long_timeout or timeout, long_only


def test(timeout=60, long_timeout=None, long_only=False):
    """Registers a function(context) as a test, named module/function. Times are in seconds."""
    def register(function):
        module = function.__module__.rsplit(".", 1)[-1]
        _TESTS.append(Case(function, f"{module}/{function.__name__}", timeout, long_timeout, long_only))
        return function
    return register


class Context:
    """What a test has at hand. Servers made through it end with the test."""

    def __init__(self, case, directory, build_dir, long):
        self.name, self.dir, self.build_dir, self.long = case.name, Path(directory), Path(build_dir), long
        self.servers, self.cleanups = [], []

    @property
    def escd(self):
        return self.build_dir / "escd"

    @property
    def esctl(self):
        return self.build_dir / "esctl"

    def program(self, relative):
        path = self.build_dir / relative
        if not path.exists():
            raise Skip(f"{path.name} is not built")
        return path

    def server(self, name="escd", data_dir=None):
        server = Escd(self.escd, data_dir or self.dir / name, self.dir / f"{name}.log")
        self.servers.append(server)
        return server

    def start(self, *args, env=None, name="escd"):
        return self.server(name).start(*args, env=env)

    def defer(self, function):
        self.cleanups.append(function)

    def skip(self, reason):
        raise Skip(reason)

    def note(self, text):
        """A line of figures or remarks shown beneath the result."""
        print(f"    {text}", flush=True)

    def close(self):
        for server in self.servers:
            if server.process is not None:
                server.kill()
        for function in reversed(self.cleanups):
            function()


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def check_equal(got, wanted, what=""):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}")


def eventually(function, timeout=10, interval=0.1, what="condition"):
    """Waits for a truthy answer and returns it."""
    deadline = time.monotonic() + timeout
    while True:
        value = function()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(interval)


def load_all():
    for module in MODULES:
        importlib.import_module(f"suites.{module}")
    return _TESTS


_PASS, _FAIL, _SKIP = 0, 1, 3


def _child(case, context, pipe):
    """Runs in the forked process; the exit code is the verdict, the pipe carries one line of reason."""
    os.setpgid(0, 0)
    verdict, reason = _PASS, ""
    try:
        case.function(context)
        for server in context.servers:
            if "AddressSanitizer" in server.log(False) or "runtime error:" in server.log(False):
                raise AssertionError("the sanitizer reported an error in the server's log")
    except Skip as skip:
        verdict, reason = _SKIP, str(skip)
    except BaseException as error:  # the verdict must reach the parent whatever happened
        verdict = _FAIL
        reason = f"{type(error).__name__}: {error}"
        traceback.print_exc()
        for server in context.servers:
            if server.process is not None:
                sys.stderr.write(f"--- last lines of {server.log_path}"
                                 f" (exit code {server.process.poll()})\n{server.log_tail(20)}\n")
    try:
        context.close()
    except Exception:
        traceback.print_exc()
    os.write(pipe, reason.splitlines()[0].encode()[:1000] if reason else b"")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(verdict)


def _wait(pid, timeout):
    deadline = time.monotonic() + timeout
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.02)


def run_case(case, options, work_dir):
    directory = Path(work_dir) / case.name.replace("/", "-")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    context = Context(case, directory, options.build_dir, options.long)
    timeout = case.long_timeout if options.long else case.timeout
    reader, writer = os.pipe()
    sys.stdout.flush()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(case, context, writer)
    os.close(writer)
    code = _wait(pid, timeout * options.timeout_factor)
    with os.fdopen(reader, "rb") as pipe:
        reason = pipe.read().decode(errors="replace") if code is not None else f"still running after {timeout} s"
    seconds = time.monotonic() - began
    word = {_PASS: "ok  ", _SKIP: "skip"}.get(code, "FAIL")
    print(f"{word} {case.name} ({seconds:.1f} s){': ' + reason if reason else ''}", flush=True)
    if code in (_PASS, _SKIP) and not options.keep:
        shutil.rmtree(directory, ignore_errors=True)
    elif code not in (_PASS, _SKIP):
        print(f"    left for inspection: {directory}", flush=True)
    return {_PASS: "passed", _SKIP: "skipped"}.get(code, "failed")
