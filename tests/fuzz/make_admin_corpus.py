#!/usr/bin/env python3
"""Writes what nodes tell each other, as docs/PROTOCOL.md has it: tests/fuzz/corpus/admin_relay_fuzz, orders and outcomes
(services 67, 68); in_sync_fuzz, who is in sync (service 69)."""

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


def in_sync(*nodes):
    return struct.pack("<I", len(nodes)) + b"".join(struct.pack("<I", node) for node in nodes)


IN_SYNC = {"one": in_sync(2), "three": in_sync(1, 2, 3), "descending": in_sync(2, 1), "cut": in_sync(1, 2)[:-1], "nobody": in_sync()}

if __name__ == "__main__":
    for target, cases in (("admin_relay_fuzz", CASES), ("in_sync_fuzz", IN_SYNC)):
        directory = pathlib.Path(__file__).parent / "corpus" / target
        directory.mkdir(parents=True, exist_ok=True)
        for name, data in cases.items():
            (directory / name).write_bytes(data)
