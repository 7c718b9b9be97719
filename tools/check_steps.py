#!/usr/bin/env python3
"""Builds every variant and runs every test, one step after the other; tools/check is the way to call it.

Each step writes its output to build/check/<step>.log. A failed step does not stop the others, except those that
need its result. Everything must end within --minutes; steps that no longer fit are failures, not silence.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "check"
JOBS = os.cpu_count() or 2
MINUTES = 29                # for everything, warm, on two cores; the steps' own limits add up to about this
MINUTES_COLD = 60           # the default: nothing in the compiler cache

FUZZ_SECONDS = 8            # per target; the corpus carries what longer runs have found
SIM_SEEDS_TWICE = "1..100"   # each run twice, and the runs must be equal
SIM_SEEDS_ONCE = "101..1000" # known to pass
SIM_SEEDS_FRESH = 2000       # never run before: every commit has its own
SIM_SECONDS = 150            # for each of these, as many as fit; a machine that does nothing else needs a third of it
TIDY_SECONDS = 150          # changed files first, then the critical ones, as many as fit
TIDY_CRITICAL = ["src/raft/*.cpp", "src/wal/*.cpp", "src/ring/*.cpp", "src/logfmt/*.cpp", "src/io/*.cpp",
                 "src/store/*.cpp", "src/replica/*.cpp"]
SANITIZER_ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


@dataclass
class Outcome:
    """Counts of tests; a build or a lint step counts as one."""
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    notes: list = field(default_factory=list)   # one line each: which test failed, why something was skipped


@dataclass
class Step:
    name: str
    what: str
    run: object              # Runner -> Outcome
    advice: str              # what to do when it fails
    minutes: float           # at most
    needs: tuple = ()        # names of steps whose failure makes this one pointless


class Runner:
    """Runs commands of one step with a log, a deadline and a sign of life every minute."""

    def __init__(self, step, deadline):
        self.log_path = LOGS / f"{step.name}.log"
        self.log = open(self.log_path, "w", errors="replace")
        self.deadline = deadline

    def command(self, *arguments, env=None, cwd=ROOT):
        """Exit code; 124 when the time was up."""
        self.log.write("$ " + " ".join(str(a) for a in arguments) + "\n")
        self.log.flush()
        process = subprocess.Popen([str(a) for a in arguments], cwd=cwd, stdout=self.log, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}, start_new_session=True)
        said = time.monotonic()
        try:
            while True:
                try:
                    return process.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    pass
                now = time.monotonic()
                if now > self.deadline:
                    self.log.write("\nout of time\n")
                    return 124
                if now - said > 60:
                    said = now
                    print(f"     ... {self.last_line()[:100]}", flush=True)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)   # our own session: nobody else's processes are in it
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def text(self):
        self.log.flush()
        return self.log_path.read_text(errors="replace")

    def last_line(self):
        lines = [line for line in self.text().splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""

    def seconds_left(self):
        return self.deadline - time.monotonic()


def one(code, note=""):
    return Outcome(passed=1) if code == 0 else Outcome(failed=1, notes=[note or f"exit code {code}"])


def skip(note):
    return Outcome(skipped=1, notes=[note])


def build(variant, *targets, werror=True):
    flags = ["--werror"] if werror else []
    return lambda runner: one(runner.command("tools/build", *flags, variant, *targets), f"tools/build {variant} failed")


def cases_of(junit):
    """Counts single test cases: meson merges the reports of GoogleTest into its own."""
    outcome = Outcome()
    for case in ElementTree.parse(junit).iter("testcase"):
        name = f"{case.get('classname', '')}.{case.get('name', '')}".strip(".")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
            outcome.notes.append(f"failed: {name}")
        elif case.find("skipped") is not None or case.get("status") == "notrun" or case.get("result") == "skipped":
            outcome.skipped += 1
            outcome.notes.append(f"skipped: {name}")
        else:
            outcome.passed += 1
    return outcome


def meson_tests(variant, *selection):
    def run(runner):
        logs = ROOT / "build" / variant / "meson-logs"
        for old in logs.glob("testlog*.junit.xml"):
            old.unlink()
        arguments = ["meson", "test", "-C", f"build/{variant}", "--no-rebuild", "--print-errorlogs", *selection]
        code = runner.command(*arguments, env=SANITIZER_ENVIRONMENT)
        junit = next(logs.glob("testlog*.junit.xml"), None)
        if junit is None:
            return Outcome(failed=1, notes=[f"no test report (exit code {code})"])
        outcome = cases_of(junit)
        if code != 0 and outcome.failed == 0:   # a crash or a timeout leaves no case behind
            outcome.failed = 1
            outcome.notes.append("a test program crashed or timed out")
        return outcome
    return run


def run_fuzzers(runner):
    directory = ROOT / "build" / "asan"
    targets = [path for path in sorted((directory / "tests" / "fuzz").glob("*fuzz*"))
               if path.is_file() and os.access(path, os.X_OK)]
    if not targets:
        return Outcome(failed=1, notes=["no fuzz target was built"])

    def run_one(target):
        corpus = directory / "corpus" / target.name
        corpus.mkdir(parents=True, exist_ok=True)
        findings = directory / "findings"
        findings.mkdir(exist_ok=True)
        seeds = [str(path) for path in [ROOT / "tests" / "fuzz" / "corpus" / target.name] if path.is_dir()]
        with open(LOGS / f"fuzz-{target.name}.log", "w", errors="replace") as log:
            try:
                return subprocess.run(
                    [str(target), f"-max_total_time={FUZZ_SECONDS}", "-rss_limit_mb=1024", "-timeout=10",
                     "-print_final_stats=1", f"-artifact_prefix={findings}/{target.name}-", str(corpus), *seeds],
                    stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False, cwd=directory,
                    timeout=FUZZ_SECONDS * 4 + 60, env={**os.environ, **SANITIZER_ENVIRONMENT}).returncode
            except subprocess.TimeoutExpired:
                return 124

    outcome = Outcome()
    with ThreadPoolExecutor(max_workers=JOBS) as pool:
        for target, code in zip(targets, pool.map(run_one, targets)):
            runner.log.write(f"{target.name}: exit code {code}\n")
            if code == 0:
                outcome.passed += 1
            else:
                outcome.failed += 1
                outcome.notes.append(f"failed: {target.name}; see build/check/fuzz-{target.name}.log, input in build/asan/findings")
    return outcome


def changed_files():
    """Files that differ from the previous commit, committed or not; none outside a git checkout."""
    done = subprocess.run(["git", "diff", "--name-only", "HEAD~1"], cwd=ROOT, capture_output=True, text=True, check=False)
    return [name for name in done.stdout.split() if name.endswith(".cpp") and (ROOT / name).exists()]


def run_tidy(runner):
    if shutil.which("clang-tidy-19") is None:
        return skip("clang-tidy-19 is not installed")
    database = (ROOT / "build/asan/compile_commands.json").read_text()
    names = changed_files()
    for pattern in TIDY_CRITICAL:
        names += sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))
    names = [name for name in dict.fromkeys(names) if f"/{name}\"" in database]
    end = time.monotonic() + min(TIDY_SECONDS, runner.seconds_left())

    def run_one(name):
        if time.monotonic() > end:
            return None
        done = subprocess.run(["clang-tidy-19", "-p", "build/asan", "--quiet", "--extra-arg=-Wno-unknown-warning-option", name],
                              cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    outcome = Outcome()
    unchecked = 0
    with ThreadPoolExecutor(max_workers=JOBS) as pool:
        for name, result in zip(names, pool.map(run_one, names)):
            if result is None:
                unchecked += 1
            elif result[0] == 0:
                outcome.passed += 1
            else:
                outcome.failed += 1
                outcome.notes.append(f"failed: clang-tidy {name}")
                runner.log.write(result[1] + "\n")
    if unchecked:
        outcome.notes.append(f"{unchecked} more files did not fit into {TIDY_SECONDS} s; changed files come first")
    return outcome


def run_profiles(runner):
    """Every built-in profile must be accepted by the program that carries it."""
    outcome = Outcome()
    for profile in sorted((ROOT / "tuning").glob("*.toml")):
        code = runner.command("build/release/escd", "--data", "build/check/none", "--profile", profile.stem, "--check-config")
        outcome.passed += code == 0
        if code != 0:
            outcome.failed += 1
            outcome.notes.append(f"failed: escd --profile {profile.stem} --check-config")
    return outcome


def install_node_client(runner):
    directory = ROOT / "tests" / "e2e" / "node"
    if not (directory / "package.json").exists():
        return skip("there is no Node.js client")
    stamp = directory / "node_modules" / ".package-lock.json"
    if stamp.exists() and stamp.stat().st_mtime >= (directory / "package-lock.json").stat().st_mtime:
        return Outcome(passed=1)
    if shutil.which("npm") is None:
        return skip("npm is not installed")
    return one(runner.command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=directory), "npm ci failed")


def run_e2e(runner):
    program = ROOT / "tests" / "e2e" / "run"
    if not program.exists():
        return skip("tests/e2e/run does not exist")
    code = runner.command(program, "--short", "--build-dir", "build/release")
    text = runner.text()
    counts = re.findall(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", text, re.MULTILINE)
    if not counts:
        return Outcome(failed=1, notes=[f"no result line (exit code {code})"])
    passed, failed, skipped = map(int, counts[-1])
    notes = [line.strip()[:160] for line in text.splitlines() if re.match(r"\s*(FAIL|fail|SKIP|skip)", line)]
    if code != 0 and failed == 0:
        failed = 1
        notes.append(f"exit code {code}")
    return Outcome(passed, failed, skipped, notes)


def fresh_seeds():
    """A range that follows from the commit: the same check of the same commit runs the same seeds."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    first = 1_000_000 + int(commit[:8], 16) * SIM_SEEDS_FRESH
    return f"{first}..{first + SIM_SEEDS_FRESH - 1}"


def run_simulator(runner):
    """Seeds run twice, many run once, seeds that failed once, then proof that planted bugs are found."""
    program = "build/release/escsim"
    codes = [runner.command(program, "--seeds", SIM_SEEDS_TWICE, "--jobs", JOBS)]
    codes += [runner.command(program, "--seeds", seeds, "--jobs", JOBS, "--once", "--keep-going", "--stop-after",
                             SIM_SECONDS) for seeds in (SIM_SEEDS_ONCE, fresh_seeds())]
    failures = [line for line in runner.text().splitlines() if line.startswith("seed ")]
    outcome = Outcome(failed=len(failures), notes=failures)
    counts = [int(count) for count in re.findall(r"^(\d+) seeds passed", runner.text(), re.MULTILINE)]
    outcome.passed = sum(counts)
    if len(counts) != len(codes) or (any(codes) and not failures):
        outcome.failed += 1
        outcome.notes.append(f"no result line (exit codes {codes})")
    elif counts[-1] < SIM_SEEDS_FRESH and not failures:
        outcome.notes.append(f"only {counts[1:]} seeds in {SIM_SECONDS} s: the machine is busy or slow")
    code = runner.command(program, "--regress", "tests/sim/seeds.txt")
    listed = re.findall(r"^(\d+) listed seeds passed, (\d+) failed", runner.text(), re.MULTILINE)
    if not listed:
        return Outcome(outcome.passed, outcome.failed + 1, notes=outcome.notes + [f"listed seeds: exit code {code}"])
    outcome.passed += int(listed[-1][0])
    outcome.failed += int(listed[-1][1])
    outcome.notes += [line for line in runner.text().splitlines() if line.startswith("seed ") and line not in failures]
    code = runner.command(program, "--check-plants", "--jobs", JOBS)
    found = re.findall(r"^(\d+) of (\d+) plants found", runner.text(), re.MULTILINE)
    if not found:
        return Outcome(outcome.passed, outcome.failed + 1, notes=outcome.notes + [f"planted bugs: exit code {code}"])
    outcome.passed += int(found[-1][0])
    outcome.failed += int(found[-1][1]) - int(found[-1][0])
    outcome.notes += [line for line in runner.text().splitlines() if "NOT FOUND" in line or "without it" in line]
    return outcome


STEPS = [
    Step("rules", "house rules: floors, purity, sizes, banned words", lambda r: one(r.command("tools/check_layers.py")),
         "each line of the log names file, line and rule", 1),
    Step("release", "release build with link-time optimisation, warnings are errors", build("release"),
         "reproduce with: tools/build --werror release", 12),
    Step("profiles", "the release binary accepts every tuning profile", run_profiles,
         "reproduce with: build/release/escd --data DIR --profile NAME --check-config", 1, ("release",)),
    Step("node", "Node.js client of the end-to-end tests", install_node_client,
         "check the network, then: npm ci in tests/e2e/node", 3),
    Step("e2e", "stock clients, crashes, hostile peers, broken disks", run_e2e,
         "one test alone: tests/e2e/run --filter NAME --keep", 12, ("release",)),
    Step("sim", f"whole clusters on virtual time: {SIM_SEEDS_FRESH} fresh seeds, {SIM_SEEDS_ONCE}, those that failed once, planted bugs", run_simulator,
         "replay: build/release/escsim --seed S --logs; a plant: --seed S --plant NAME", 4, ("release",)),
    Step("asan-build", "tests and fuzz targets with address and undefined behaviour sanitizers (clang), warnings are errors", build("asan"),
         "reproduce with: tools/build --werror asan", 12),
    Step("unit", "unit tests under these sanitizers, and lint tests",
         meson_tests("asan", "--suite", "unit", "--suite", "lint", "--timeout-multiplier", "3"),
         "one module alone: build/asan/tests/test_<module> --gtest_filter=...; formatting: tools/check_format.py --fix", 6,
         ("asan-build",)),
    Step("tsan-build", "ring and mesh tests with the thread sanitizer (clang)", build("tsan"),
         "reproduce with: tools/build --werror tsan", 5),
    Step("tsan", "ring and mesh tests under it", meson_tests("tsan", "ring"),
         "one module alone: build/tsan/tests/test_ring", 4, ("tsan-build",)),
    Step("fuzz", f"every fuzz target for {FUZZ_SECONDS} s", run_fuzzers,
         "replay: build/asan/tests/fuzz/<target> build/asan/findings/<file>; add the input to tests/fuzz/corpus", 4, ("asan-build",)),
    Step("tidy", "clang-tidy on changed and critical files", run_tidy,
         "one file alone: clang-tidy-19 -p build/asan FILE", 5, ("asan-build",)),
]


def show_failure(step, outcome, log_path):
    for note in outcome.notes[:15]:
        print(f"     {note}")
    lines = [line for line in log_path.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error[: ]|FAILED|ERROR:|undefined reference", line)]
    print("     --- log (most telling lines) ---")
    for line in (errors[:8] + lines[-12:] if errors else lines[-20:]):
        print(f"     | {line[:180]}")
    print(f"     whole log: {log_path.relative_to(ROOT)}")
    print(f"     what to do: {step.advice}", flush=True)


def run_steps(steps, end):
    results = {}
    patience = max(1.0, (end - time.monotonic()) / (MINUTES * 60))  # more time for everything is more for each
    for number, step in enumerate(steps, 1):
        print(f"== [{number}/{len(steps)}] {step.name}: {step.what}", flush=True)
        started = time.monotonic()
        runner = Runner(step, min(end, started + step.minutes * 60 * patience))
        broken = [need for need in step.needs if need in results and results[need].failed]
        if broken:
            outcome = skip(f"needs {', '.join(broken)}, which failed")
        elif started >= end:
            outcome = Outcome(failed=1, notes=["not run: the time for the whole check was up"])
        else:
            try:
                outcome = step.run(runner)
            except Exception as error:   # a broken step must not hide the results of the others
                outcome = Outcome(failed=1, notes=[f"{type(error).__name__}: {error}"])
        runner.log.close()
        results[step.name] = outcome
        seconds = time.monotonic() - started
        verdict = "FAILED" if outcome.failed else ("skipped" if not outcome.passed else "ok")
        print(f"   {verdict}: {outcome.passed} passed, {outcome.failed} failed, {outcome.skipped} skipped ({seconds:.0f} s)", flush=True)
        if outcome.failed:
            show_failure(step, outcome, runner.log_path)
        else:
            for note in outcome.notes[:10]:
                print(f"     {note}")
    return results


def main():
    parser = argparse.ArgumentParser(prog="tools/check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="STEP", help="run only this step; may be repeated")
    parser.add_argument("--skip", action="append", default=[], metavar="STEP", help="leave this step out; may be repeated")
    parser.add_argument("--minutes", type=float, default=MINUTES_COLD,
                        help=f"time for everything (default {MINUTES_COLD})")
    parser.add_argument("--no-install", action="store_true", help="do not look for missing packages")
    parser.add_argument("--list", action="store_true", help="list the steps and end")
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.list:
        for step in STEPS:
            print(f"{step.name:12} {step.what}")
        return 0
    names = [step.name for step in STEPS]
    for name in (options.only or []) + options.skip:
        if name not in names:
            parser.error(f"unknown step {name}; steps are {', '.join(names)}")
    steps = [step for step in STEPS if (not options.only or step.name in options.only) and step.name not in options.skip]
    LOGS.mkdir(parents=True, exist_ok=True)
    before = max(0.0, time.time() - options.started) if options.started else 0.0
    begin = time.monotonic() - before
    results = run_steps(steps, begin + options.minutes * 60)
    total = Outcome(sum(o.passed for o in results.values()), sum(o.failed for o in results.values()),
                    sum(o.skipped for o in results.values()))
    failed = [name for name, outcome in results.items() if outcome.failed]
    minutes, seconds = divmod(int(time.monotonic() - begin), 60)
    print(f"\n{minutes} min {seconds} s." + (f" Failed: {', '.join(failed)}. Logs are in build/check." if failed else ""))
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped", flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
