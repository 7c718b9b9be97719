#!/usr/bin/env python3
"""Holds the house rules that a compiler does not: floors, purity, sizes, dead files, banned words.

  tools/check_layers.py [ROOT]

Prints 'file:line: what is wrong' for every violation. Exit code 0 when there is none, 1 otherwise.
Each rule is a function from a source file (or the tree) to findings; the table of floors is FLOORS.
"""

import re
import sys
from pathlib import Path

# Lowest first. A module may include lower floors only: nothing sideways, no cycles.
FLOORS = [
    ["base"],
    ["ring", "topo", "obs"],
    ["raft", "wire", "logfmt", "dedup"],
    ["io", "coord"],
    ["wal", "store", "peer", "sim"],
    ["replica"],
    ["broker", "ops"],
    ["shard"],
    ["app"],
]
FLOOR_OF = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}
PURE_FLOOR = 2
PURE_MODULES = {"coord"}  # pure as well, though they need something of floor 2
# These run inside the simulator: the outside world reaches them through interfaces only.
SIMULATED = {"raft", "wire", "logfmt", "dedup", "coord", "wal", "store", "peer", "replica", "broker"}

FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 70
CODE_SUFFIXES = {".h", ".cpp"}
TEXT_SUFFIXES = CODE_SUFFIXES | {".py", ".sh", ".js", ".toml", ".md", ".build", ".txt", ".in", ".yml", ".yaml"}
SKIPPED_DIRECTORIES = {"build", ".git", "node_modules", "__pycache__", ".cache", "corpus"}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
MODULE_OF_INCLUDE = re.compile(r"^esc/([a-z_]+)/")

# (pattern, what to use instead); looked for in code without comments and strings.
IMPURE = [
    (re.compile(r"\bstd::(jthread|thread|mutex|shared_mutex|condition_variable|atomic\w*|future|async)\b"), "threads and atomics"),
    (re.compile(r"\bstd::chrono\b|\b(steady|system|high_resolution)_clock\b|\bclock_gettime\b"), "clocks"),
    (re.compile(r"\bstd::(ifstream|ofstream|fstream|filesystem|cout|cerr|clog)\b"), "files and streams"),
    (re.compile(r"(?<![\w>])::(socket|connect|open|pread|pwrite|read|write|fsync|fdatasync)\s*\("), "system calls"),
    (re.compile(r"\bstd::(random_device|mt19937\w*|\w+_distribution)\b|\b(rand|random)\s*\(\s*\)"), "foreign randomness"),
]
IMPURE_HEADERS = {
    "thread": "threads", "atomic": "atomics", "mutex": "locks", "shared_mutex": "locks", "condition_variable": "locks",
    "future": "threads", "stop_token": "threads", "chrono": "clocks", "time.h": "clocks", "ctime": "clocks",
    "fstream": "files", "iostream": "streams", "filesystem": "files", "unistd.h": "system calls", "fcntl.h": "files",
    "random": "foreign randomness", "sys/socket.h": "sockets", "netinet/in.h": "sockets", "liburing.h": "system calls",
}
SIMULATED_BANS = [
    (re.compile(r"\bstd::(jthread|thread|mutex|condition_variable)\b"), "threads"),
    (re.compile(r"\b(steady|system|high_resolution)_clock::now\b|\bclock_gettime\b|[^\w.>]time\s*\(\s*(nullptr|0|NULL)\s*\)"), "clocks"),
    (re.compile(r"\bstd::(random_device|mt19937\w*|\w+_distribution)\b"), "foreign randomness"),
    (re.compile(r"\bstd::(ifstream|ofstream|fstream)\b|\bstd::filesystem\b"), "files (use the contracts of io)"),
]
LIBRARY_BANS = [
    (re.compile(r"\busing\s+namespace\s+std\b"), "'using namespace std'"),
    (re.compile(r"(?<![\w_])assert\s*\("), "assert(): use ESC_ASSERT, which stays on in release builds"),
    (re.compile(r"\bthrow\b(?!\s*\()"), "throw: fallible calls return Result or std::expected"),
    (re.compile(r"__builtin_prefetch\((?!line\);)"), "__builtin_prefetch: use esc::prefetch, whose calls the compiler does not drop"),
]
BANNED_TEXT = [
    (re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"), "an unfinished note: finish it, or open an issue"),
    (re.compile(r"(?<![\w.$}])/(work|home|Users|root)/[A-Za-z]"), "a path of somebody's own machine"),
]
RELATIVE_PATH = re.compile(r"""(?:^|[\s"'`(<])((?:\.\./)+[A-Za-z][\w./-]*)""")


class Finding:
    def __init__(self, path, line, message):
        self.path, self.line, self.message = path, line, message


def module_of(path):
    """'wal' for src/wal/x.cpp and include/esc/wal/x.h, otherwise None."""
    parts = path.parts
    if len(parts) > 2 and parts[0] == "src":
        return parts[1]
    if len(parts) > 3 and parts[:2] == ("include", "esc"):
        return parts[2]
    return None


def strip_comments_and_strings(text):
    """Same length and lines, with the contents of comments, strings and characters blanked."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.DOTALL)
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def leaves_module(path, include):
    """True when a relative include climbs out of the module's own directory."""
    depth = len(path.parts) - len(("src", "module", "file.cpp"))
    return include.count("../") > depth


def check_includes(path, text):
    module = module_of(path)
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        name = match.group(2)
        other_match = MODULE_OF_INCLUDE.match(name)
        if other_match:
            other = other_match.group(1)
            if other not in FLOOR_OF:
                yield Finding(path, number, f"includes unknown module {other}: add it to FLOORS")
            elif module in FLOOR_OF and other != module and FLOOR_OF[other] >= FLOOR_OF[module]:
                yield Finding(path, number, f"{module} (floor {FLOOR_OF[module]}) includes {other} (floor {FLOOR_OF[other]}): "
                                            "only lower floors may be included")
        elif module and match.group(1) == '"' and name.startswith("..") and leaves_module(path, name):
            yield Finding(path, number, f"includes {name}: another module's private header; use its contract")


def check_meson_needs(root):
    for build in sorted(root.glob("src/*/meson.build")):
        module = build.parent.name
        path = build.relative_to(root)
        if module not in FLOOR_OF:
            yield Finding(path, 1, f"module {module} has no floor: add it to FLOORS")
            continue
        match = re.search(r"module_needs\s*=\s*\[(.*?)\]", build.read_text(), re.DOTALL)
        for need in re.findall(r"'([a-z_]+)'", match.group(1)) if match else []:
            if need not in FLOOR_OF or FLOOR_OF[need] >= FLOOR_OF[module]:
                yield Finding(path, 1, f"{module} links {need}, which is not on a lower floor")


def check_purity(path, text, code):
    module = module_of(path)
    if module is None:
        return
    if FLOOR_OF.get(module) == PURE_FLOOR or module in PURE_MODULES:
        bans, why = IMPURE, f"{module} is pure"
        for number, line in enumerate(text.splitlines(), 1):
            match = INCLUDE.match(line)
            if match and match.group(1) == "<" and match.group(2) in IMPURE_HEADERS:
                yield Finding(path, number, f"{why}: no {IMPURE_HEADERS[match.group(2)]} (<{match.group(2)}>)")
            if match and match.group(2) == "esc/obs/log.h":
                yield Finding(path, number, f"{why}: no logger")
    elif module in SIMULATED:
        bans, why = SIMULATED_BANS, f"{module} runs in the simulator"
    else:
        bans, why = [], ""
    for number, line in enumerate(code.splitlines(), 1):
        for pattern, what in bans:
            if pattern.search(line):
                yield Finding(path, number, f"{why}: no {what}")
        for pattern, what in LIBRARY_BANS:
            if pattern.search(line):
                yield Finding(path, number, f"banned: {what}")


def check_function_lengths(path, code):
    """Relies on clang-format: a body ends with a brace in the column where its head's line began."""
    lines = code.splitlines()
    start = re.compile(r"^( *)(?!.*\b(namespace|class|struct|enum|union|extern)\b)\S.*[)\w>]\s*(const|noexcept|override|final|&|&&|\s)*\{\s*$")
    control = re.compile(r"^\s*(if|for|while|switch|else|do|try|case|default|return|}|\[)")
    for begin, line in enumerate(lines):
        match = start.match(line)
        if not match or len(match.group(1)) > 4 or control.match(line) or re.search(r"=\s*\{\s*$", line):
            continue
        head = begin   # parameters and member initialisers may have wrapped onto further lines
        while head > 0 and lines[head - 1].strip() and not re.search(r"[;{}:]\s*$", lines[head - 1]):
            head -= 1
        closing = re.match(" *", lines[head]).group() + "}"
        for end in range(begin + 1, len(lines)):
            if lines[end].startswith(closing):
                # A switch that maps names one to a line is a table, however long.
                length = sum(not re.match(r"\s*case .*: return .*;$", body) for body in lines[begin + 1:end])
                if length > FUNCTION_LINES_MAX:
                    yield Finding(path, begin + 1, f"function of {length} lines: at most {FUNCTION_LINES_MAX}")
                break


def check_text(root, path, text):
    lines = text.splitlines()
    if path.suffix in CODE_SUFFIXES | {".py", ".sh", ".js"} and len(lines) > FILE_LINES_MAX:
        yield Finding(path, 1, f"{len(lines)} lines: at most {FILE_LINES_MAX}; one noun per file")
    if path.name in ("check_layers.py", "check_layers_test.py"):
        return  # they spell the words they look for
    for number, line in enumerate(lines, 1):
        for pattern, what in BANNED_TEXT:
            if pattern.search(line):
                yield Finding(path, number, f"banned: {what}")
        for relative in RELATIVE_PATH.findall(line):
            if not ((root / path).parent / relative.rstrip(".")).exists():
                yield Finding(path, number, f"{relative}: no such path in this repository")


def check_dead_files(root):
    for pattern in ("src/*/**/*.cpp", "tests/*/**/*.cpp"):
        for source in sorted(root.glob(pattern)):
            directory = root / Path(*source.relative_to(root).parts[:2])
            names = "".join(build.read_text() for build in directory.glob("**/meson.build"))
            if source.name not in names and source.stem not in names:
                yield Finding(source.relative_to(root), 1, f"dead file: no meson.build below {directory.relative_to(root)} names it")


def source_files(root):
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if SKIPPED_DIRECTORIES.intersection(relative.parts) or not path.is_file() or path.is_symlink():
            continue
        script = path.suffix == "" and relative.parts[0] in ("tools", ".ci", "tests") and path.stat().st_size < 1 << 20
        if path.suffix in TEXT_SUFFIXES or script:
            yield relative


def check_tree(root):
    findings = list(check_meson_needs(root)) + list(check_dead_files(root))
    for path in source_files(root):
        try:
            text = (root / path).read_text()
        except UnicodeDecodeError:
            continue
        findings += check_text(root, path, text)
        if path.suffix not in CODE_SUFFIXES:
            continue
        code = strip_comments_and_strings(text)
        findings += check_includes(path, text)
        findings += check_purity(path, text, code)
        if path.parts[0] != "tests":
            findings += check_function_lengths(path, code)
        if path.suffix == ".h" and "#pragma once" not in text:
            findings.append(Finding(path, 1, "header without #pragma once"))
    return findings


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
    findings = check_tree(root)
    for finding in findings:
        print(f"{finding.path}:{finding.line}: {finding.message}")
    print(f"{len(findings)} violation{'' if len(findings) == 1 else 's'} of the house rules" if findings
          else "The house rules hold.")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
