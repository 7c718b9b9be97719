#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/peer_codec_fuzz: handshake blocks and one message of every type, as docs/PROTOCOL.md has them."""

import pathlib
import struct

from make_wal_corpus import crc32c

NONCE = bytes(range(32))


def sealed(magic, body, size):
    body = body.ljust(size - 8, b"\0")
    return magic + struct.pack("<I", crc32c(body)) + body


def message(kind_of_message, fields=b"", kind=0, payload=(0, 0), term=7):
    head = struct.pack("<BBHIIIIIQ", 1, kind_of_message, kind, *payload, 1, 2, 3, term)
    return sealed(b"ESCM", head + fields, 192)


def append(count, configuration=b""):
    return struct.pack("<QQQQQQI", 10, 5, 6, 1000, 9, 77, count) + configuration


BLOCKS = {
    "hello": sealed(b"ESCH", struct.pack("<HHIIIQ", 1, 1, 1, 2, 3, 42) + NONCE, 64),
    "challenge": sealed(b"ESCC", struct.pack("<HHHHQ", 0, 1, 1, 1, 42) + NONCE + NONCE, 96),
    "refusal": sealed(b"ESCC", struct.pack("<HHHHQ", 2, 0, 1, 1, 42), 96),
    "confirm": sealed(b"ESCK", struct.pack("<HHI", 0, 0, 0) + NONCE, 48),
    "append-entries": message(1, append(3), payload=(512, 0x12345678)),
    "append-configuration": message(1, append(1, bytes([1, 3, 1, 0]) + struct.pack("<IIII", 1, 2, 3, 9)), payload=(64, 1)),
    "append-reply": message(2, struct.pack("<QQQQQQB", 1, 2, 3, 4, 5, 6, 1)),
    "heartbeat": message(3, struct.pack("<QQ", 9, 1)),
    "heartbeat-reply": message(4, struct.pack("<QQQ", 9, 8, 1)),
    "vote-request": message(5, struct.pack("<QQBB", 9, 8, 1, 0)),
    "vote-reply": message(6, bytes([1, 1])),
    "timeout-now": message(7),
    "install-snapshot": message(8, struct.pack("<QQ", 9, 8)),
    "snapshot-failed": message(9),
    "service": message(32, kind=5, payload=(100, 1), term=99),
}


def main():
    directory = pathlib.Path(__file__).parent / "corpus" / "peer_codec_fuzz"
    directory.mkdir(parents=True, exist_ok=True)
    for name, block in BLOCKS.items():
        (directory / name).write_bytes(b"\1" + block)
    (directory / "unrepaired").write_bytes(b"\0" + BLOCKS["append-configuration"])


if __name__ == "__main__":
    main()
