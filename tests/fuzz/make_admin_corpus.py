#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/admin_relay_fuzz: orders and outcomes as docs/PROTOCOL.md has them (services 67, 68)."""

import pathlib
import struct

CREATE, DELETE, PARTITIONS, CONFIGURE = range(4)


def text(value):
    return struct.pack("<I", len(value)) + value.encode()


def order(kind, name, partitions=-1, overrides=(), changes=(), replaces=0, topic_id=b"\0" * 16):
    out = struct.pack("<BBhi", kind, replaces, -1, partitions) + topic_id + text(name)
    out += struct.pack("<I", len(overrides)) + b"".join(text(k) + text(v) for k, v in overrides)
    return out + struct.pack("<I", len(changes)) + b"".join(bytes([how]) + text(k) + text(v) for how, k, v in changes)


def outcome(code, message="", name="", partitions=-1):
    return struct.pack("<hi", code, partitions) + b"\3" * 16 + text(name) + text(message)


def case(orders, outcomes, index=9, validate_only=0):
    asked = bytes([validate_only]) + b"".join(orders)
    return struct.pack("<H", len(asked)) + asked + struct.pack("<Q", index) + b"".join(outcomes)


CASES = {
    "configure": case([order(CONFIGURE, "t", changes=[(0, "retention.ms", "1"), (2, "cleanup.policy", "compact")])], [outcome(0)]),
    "asked_again": case([order(CONFIGURE, "t", changes=[(1, "retention.ms", "")])], [outcome(41, "another node leads")]),
    "create": case([order(CREATE, "t", 3, [("retention.bytes", "5")])], [outcome(36, "it exists")]),
    "delete_by_id": case([order(DELETE, "", topic_id=b"\7" * 16)], [outcome(0, name="t")]),
    "several": case([order(PARTITIONS, "t", 9), order(CONFIGURE, "u", replaces=1)], [outcome(0), outcome(40, "no")], validate_only=1),
    "too_few_outcomes": case([order(PARTITIONS, "t", 9), order(CREATE, "u")], [outcome(0)]),
}

if __name__ == "__main__":
    directory = pathlib.Path(__file__).parent / "corpus" / "admin_relay_fuzz"
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in CASES.items():
        (directory / name).write_bytes(data)
