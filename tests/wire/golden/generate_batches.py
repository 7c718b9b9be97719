#!/usr/bin/env python3
"""Writes record_batches.txt beside this file: batches v2 in every codec, made by kafka-python 2
(Debian: python3-kafka python3-snappy python3-lz4 python3-zstandard). Each line: codec, batch in hex.

Every batch holds 40 records i = 0..39: timestamp 1700000000000 + i, key "key-<i>" (null for every fifth),
value "value-<i>" repeated i times (null for i = 7), one header "h" = "x" and one null header "n" on every third.
"""

import pathlib

from kafka.record.default_records import DefaultRecordBatchBuilder

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def build(codec):
    builder = DefaultRecordBatchBuilder(magic=2, compression_type=codec, is_transactional=False, producer_id=-1,
                                        producer_epoch=-1, base_sequence=-1, batch_size=1 << 20)
    for i in range(40):
        key = None if i % 5 == 0 else f"key-{i}".encode()
        value = None if i == 7 else f"value-{i}".encode() * i
        headers = [("h", b"x"), ("n", None)] if i % 3 == 0 else []
        builder.append(i, timestamp=1700000000000 + i, key=key, value=value, headers=headers)
    return bytes(builder.build())


lines = [f"{name} {build(codec).hex()}" for name, codec in CODECS.items()]
(pathlib.Path(__file__).parent / "record_batches.txt").write_text("\n".join(lines) + "\n")
