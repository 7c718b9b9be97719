#!/usr/bin/env python3
"""Seeds corpus/wal_scan_fuzz: small logs as docs/formats/wal.md describes them, whole and damaged."""

import pathlib
import struct

BLOCK = 4096
FILE_BLOCKS = 8
CLUSTER, LOG, NODE, GROUP = 7, 42, 1, 2


def crc32c(data, table=[]):
    if not table:
        for n in range(256):
            for _ in range(8):
                n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
            table.append(n)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def segment_header(generation, number, epoch=1):
    head = b"ESCS" + struct.pack("<HHQQIIQQQI", 1, 0, CLUSTER, LOG, NODE, GROUP, generation, number,
                                 BLOCK * FILE_BLOCKS, epoch)
    return (head + struct.pack("<I", crc32c(head))).ljust(BLOCK, b"\0")


def entry(index, body):
    head = struct.pack("<IBBHIIQq", len(body), 2, 0, 0, 9, 0, index, 1_700_000_000_000)
    return head + body + b"\0" * (-len(body) % 8)


class Log:
    def __init__(self):
        self.lsn = 0
        self.crc = 0

    def frame(self, generation, block, bodies=(b"event",), epoch=1, lag=1):
        payload = b"".join(entry(self.lsn + 1, body) for body in bodies)
        self.lsn += 1
        index = self.lsn if payload else 0
        head = b"ESCF" + struct.pack("<HBBQQIIQIIQQQQQQIIIIQI", 1, 1 if payload else 3, 0, CLUSTER, LOG, NODE, GROUP,
                                     generation, epoch, block, self.lsn, 1 if payload else 0, index, index,
                                     max(0, self.lsn - lag), 3, 1, len(payload), crc32c(payload), self.crc, 0, 0)
        assert len(head) == 124
        self.crc = crc32c(head)
        raw = head + struct.pack("<I", self.crc) + payload
        return raw.ljust(-(-len(raw) // BLOCK) * BLOCK, b"\0")


def whole():
    log = Log()
    first = segment_header(1, 1) + b"".join(log.frame(1, block) for block in range(1, FILE_BLOCKS))
    second = segment_header(2, 2) + log.frame(2, 1) + log.frame(2, 2, (b"x" * 5000, b"y")) + log.frame(2, 4, ())
    return first, second.ljust(BLOCK * FILE_BLOCKS, b"\0")


def in_flight():
    log = Log()
    files = segment_header(1, 1) + log.frame(1, 1) + log.frame(1, 2) + log.frame(1, 3, lag=2)
    return files[:2 * BLOCK + 140] + b"\xff" + files[2 * BLOCK + 141:]


def main():
    directory = pathlib.Path(__file__).parent / "corpus" / "wal_scan_fuzz"
    directory.mkdir(parents=True, exist_ok=True)
    first, second = whole()
    (directory / "whole").write_bytes(b"\0" + first + second)
    (directory / "whole-repaired").write_bytes(b"\1" + first + second)
    (directory / "bit-flip").write_bytes(b"\0" + first[:8332] + b"\xff" + first[8333:] + second)
    (directory / "missing-first").write_bytes(b"\0" + second)
    (directory / "cut").write_bytes(b"\0" + first + second[:6000])
    (directory / "torn-tail").write_bytes(b"\0" + in_flight().ljust(BLOCK * FILE_BLOCKS, b"\0"))
    (directory / "recycled").write_bytes(b"\0" + segment_header(3, 1) + first[BLOCK:] + second)


if __name__ == "__main__":
    main()
