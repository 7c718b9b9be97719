#!/usr/bin/env python3
"""Every C++ file is as clang-format leaves it. `--fix` formats instead of complaining.

Exit code 0 fine, 1 unformatted files, 77 (skipped) when clang-format 19 is not installed.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIRECTORIES = ("include", "src", "tests", "tools", "perf", "sim")


def main():
    formatter = shutil.which("clang-format-19")
    if formatter is None:
        print("clang-format-19 is not installed: tools/install_deps installs it")
        return 77
    files = [str(path) for directory in DIRECTORIES for path in sorted((ROOT / directory).rglob("*"))
             if path.suffix in (".h", ".cpp") and "node_modules" not in path.parts]
    if "--fix" in sys.argv[1:]:
        return subprocess.run([formatter, "-i", *files], check=False).returncode
    done = subprocess.run([formatter, "--dry-run", "-Werror", *files], capture_output=True, text=True, check=False)
    unformatted = sorted({line.split(":")[0] for line in done.stderr.splitlines() if ": error:" in line})
    for path in unformatted:
        print(Path(path).relative_to(ROOT))
    if unformatted:
        print(f"{len(unformatted)} files are not formatted: run tools/check_format.py --fix")
    elif done.returncode != 0:
        print(done.stderr)
    return 1 if done.returncode != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
