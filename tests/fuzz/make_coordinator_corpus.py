#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/coordinator_fuzz: commands and saved state of consumer groups, as docs/PROTOCOL.md has them."""

import pathlib
import struct


def text(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<I", len(data)) + data


def member(name, instance=None, protocols=(("range", b"topics"),), assignment=b"mine"):
    out = text(name) + (b"\1" + text(instance) if instance else b"\0") + text("client") + text("host")
    out += struct.pack("<iiI", 10000, 30000, len(protocols))
    for protocol, metadata in protocols:
        out += text(protocol) + text(metadata)
    return out + text(assignment)


def members(group, generation, *of):
    return (b"\1" + text(group) + struct.pack("<i", generation) + text("consumer") + text("range") + text("a") +
            struct.pack("<I", len(of)) + b"".join(of))


def commit(group, *offsets):
    out = b"\2" + text(group) + struct.pack("<I", len(offsets))
    for topic, topic_id, partition, offset in offsets:
        out += text(topic) + bytes([topic_id]) * 16 + struct.pack("<Qiqi", 5, partition, offset, 3) + text("note")
    return out


def forget(group, *offsets):
    return b"\3" + text(group) + struct.pack("<I", len(offsets)) + b"".join(
        text(topic) + struct.pack("<i", partition) for topic, partition in offsets)


def state(*groups):
    return struct.pack("<IQqI", 1, 9, 1000, len(groups)) + b"".join(groups)


def stored(name, *of, topics=()):
    out = text(name) + struct.pack("<i", 4) + text("consumer") + text("range") + text("a")
    out += struct.pack("<qI", 900, len(of)) + b"".join(of) + struct.pack("<I", len(topics))
    for topic, partitions in topics:
        out += text(topic) + bytes([7]) * 16 + struct.pack("<QI", 5, len(partitions))
        for partition, offset in partitions:
            out += struct.pack("<iqiq", partition, offset, 2, 800) + text("")
    return out


def blocks(flags, *parts):
    return bytes([flags]) + b"".join(struct.pack("<H", len(part)) + part for part in parts)


EXPIRE, BARRIER = b"\5" + struct.pack("<q", 500), b"\6"
SEEDS = {
    "generation": blocks(0, members("g", 1, member("a"), member("b", "static", (("range", b""), ("sticky", b"x"))))),
    "life": blocks(0, members("g", 1, member("a")), commit("g", ("t", 1, 0, 5), ("t", 1, 1, 6)), members("g", 2),
                   EXPIRE, BARRIER),
    "topic_created_anew": blocks(0, commit("g", ("t", 1, 0, 5)), commit("g", ("t", 2, 1, 6)), forget("g", ("t", 1))),
    "forget_all": blocks(0, commit("g", ("t", 1, 0, 5)), forget("g", ("t", -1), ("none", 3)), b"\4" + text("g")),
    "state": blocks(1, state(stored("g", member("a"), topics=(("t", ((0, 5), (1, 6))),)), stored("h"))),
    "state_and_commands": blocks(1, state(stored("g", topics=(("t", ((0, 5),)),))), commit("g", ("t", 7, 0, 9)), EXPIRE),
    "empty_state": blocks(1, state()),
}


def main():
    directory = pathlib.Path(__file__).parent / "corpus" / "coordinator_fuzz"
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (directory / name).write_bytes(data)


if __name__ == "__main__":
    main()
