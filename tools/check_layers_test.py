#!/usr/bin/env python3
"""The checker of the house rules finds violations planted for it, and nothing in a clean tree."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import check_layers  # noqa: E402


class PlantedViolations(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.root = Path(self.directory.name)
        self.write("include/esc/wal/wal.h", '#pragma once\n#include "esc/base/result.h"\n#include "esc/io/disk.h"\n')
        self.write("src/wal/wal.cpp", '#include "esc/wal/wal.h"\n#include "private.h"\nint size() {\n  return 1;\n}\n')
        self.write("src/wal/meson.build", "module_sources = files('wal.cpp')\nmodule_needs = ['base', 'io']\n")

    def tearDown(self):
        self.directory.cleanup()

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def findings(self):
        return [f"{f.path}:{f.line}: {f.message}" for f in check_layers.check_tree(self.root)]

    def assert_found(self, *parts):
        found = self.findings()
        self.assertTrue(any(all(part in line for part in parts) for line in found), f"{parts} not in {found}")

    def test_a_clean_tree_has_none(self):
        self.assertEqual(self.findings(), [])

    def test_upward_and_sideways_includes(self):
        self.write("include/esc/wal/up.h", '#pragma once\n#include "esc/broker/api.h"\n')
        self.write("include/esc/wal/side.h", '#pragma once\n#include "esc/store/segment.h"\n')
        self.assert_found("include/esc/wal/up.h:2", "includes broker")
        self.assert_found("include/esc/wal/side.h:2", "includes store")

    def test_private_headers_of_another_module(self):
        self.write("include/esc/wal/peek.h", '#pragma once\n#include "../../../src/io/loop.h"\n')
        self.assert_found("peek.h:2", "private header")

    def test_private_headers_of_ones_own_module(self):
        self.write("src/wal/private.h", "#pragma once\n")
        self.write("src/wal/deep/wal.cpp", '#include "../private.h"\n')
        self.assertEqual(self.findings(), [])
        self.write("src/wal/deep/wal.cpp", '#include "../../io/private.h"\n')
        self.assert_found("src/wal/deep/wal.cpp:1", "private header")

    def test_linking_upward(self):
        self.write("src/wal/meson.build", "module_sources = files('wal.cpp')\nmodule_needs = ['replica']\n")
        self.assert_found("src/wal/meson.build", "links replica")

    def test_impure_floor_two(self):
        for number, line in enumerate(["#include <atomic>", "std::thread t;", "auto n = std::chrono::steady_clock::now();",
                                       "std::ifstream in;", "int s = ::socket(1, 2, 3);", '#include "esc/obs/log.h"',
                                       "std::random_device seed;"]):
            self.write(f"include/esc/raft/bad{number}.h", f"#pragma once\n{line}\n")
            self.assert_found(f"bad{number}.h:2", "raft is pure")

    def test_simulated_modules_have_no_clock(self):
        self.write("include/esc/store/clock.h", "#pragma once\nauto n = std::chrono::system_clock::now();\n")
        self.assert_found("store runs in the simulator", "clocks")

    def test_words_in_comments_and_strings_are_not_code(self):
        self.write("include/esc/raft/words.h", '#pragma once\n// std::thread is banned\nauto x = "std::thread";\n')
        self.assertEqual(self.findings(), [])

    def test_long_files_and_functions(self):
        self.write("include/esc/wal/long.h", "#pragma once\n" + "int x();\n" * 800)
        self.assert_found("long.h:1", "801 lines")
        self.write("src/wal/wal.cpp", "int f(int a) {\n" + "  a++;\n" * 71 + "}\n")
        self.assert_found("wal.cpp:1", "function of 71 lines")
        self.write("src/wal/wal.cpp", "int f(int a) {\n" + "  a++;\n" * 70 + "}\n")
        self.assertFalse(any("function" in line for line in self.findings()))

    def test_wrapped_heads_end_where_the_function_ends(self):
        self.write("src/wal/wal.cpp", "Wal::Wal(int a)\n    : a_(a), b_(a) {\n  a++;\n}\n\n" + "int x();\n" * 80 + "    }\n")
        self.assertEqual(self.findings(), [])
        self.write("src/wal/wal.cpp", "Wal::Wal(int a)\n    : a_(a), b_(a) {\n" + "  a++;\n" * 71 + "}\n")
        self.assert_found("function of 71 lines")

    def test_dead_files(self):
        self.write("src/wal/forgotten.cpp", "int x;\n")
        self.assert_found("src/wal/forgotten.cpp", "dead file")

    def test_banned_words_and_paths(self):
        self.write("docs/a.md", "see TO" + "DO\n")
        self.assert_found("docs/a.md:1", "unfinished note")
        self.write("docs/b.md", "as in /home" + "/someone/notes\n")
        self.assert_found("docs/b.md:1", "somebody's own machine")
        self.write("docs/c.md", "read ../elsewhere/notes.md first\n")
        self.assert_found("docs/c.md:1", "no such path")

    def test_library_bans(self):
        self.write("src/wal/wal.cpp", "void f() {\n  assert(x);\n  throw 1;\n  __builtin_prefetch(&x);\n}\n")
        self.assert_found("wal.cpp:2", "ESC_ASSERT")
        self.assert_found("wal.cpp:3", "throw")
        self.assert_found("wal.cpp:4", "esc::prefetch")

    def test_headers_are_guarded(self):
        self.write("include/esc/wal/bare.h", "int x();\n")
        self.assert_found("bare.h", "#pragma once")

    def test_a_module_without_a_floor(self):
        self.write("src/attic/meson.build", "module_sources = []\n")
        self.assert_found("attic has no floor")


if __name__ == "__main__":
    unittest.main()
