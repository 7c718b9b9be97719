#!/usr/bin/env python3
"""Seeds corpus/request_fuzz and corpus/record_batch_fuzz from the goldens of tests/wire/golden."""

import pathlib
import struct

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "wire" / "golden"
# Name: (key, position in kApis, first flexible version), as include/esc/wire/api.h has them.
APIS = {
    "Produce": (0, 0, 9), "Fetch": (1, 1, 12), "ListOffsets": (2, 2, 6), "Metadata": (3, 3, 9),
    "OffsetCommit": (8, 4, 8), "OffsetFetch": (9, 5, 6), "FindCoordinator": (10, 6, 3), "JoinGroup": (11, 7, 6),
    "Heartbeat": (12, 8, 4), "LeaveGroup": (13, 9, 4), "SyncGroup": (14, 10, 4), "ApiVersions": (18, 11, 3),
    "CreateTopics": (19, 12, 5), "DeleteTopics": (20, 13, 4), "InitProducerId": (22, 14, 2),
    "DescribeConfigs": (32, 15, 4), "CreatePartitions": (37, 16, 2), "DescribeCluster": (60, 17, 0),
}


def main():
    requests = HERE / "corpus" / "request_fuzz"
    batches = HERE / "corpus" / "record_batch_fuzz"
    for directory in (requests, batches):
        directory.mkdir(parents=True, exist_ok=True)
    for name, (key, index, flexible_from) in APIS.items():
        lines = (GOLDEN / f"{name}.txt").read_text().splitlines()
        for title, body in zip(lines[::3], lines[1::3]):
            message, version, variant = title.split()
            version, body = int(version), bytes.fromhex(body)
            if variant != "full":
                continue
            if message.endswith("Request"):
                tags = b"\0" if version >= flexible_from else b""
                seed = b"\0" + struct.pack(">hhih", key, version, 7, 4) + b"fuzz" + tags + body
            else:
                seed = bytes([1, index, version]) + body
            (requests / f"{message}-{version}").write_bytes(seed)
    for line in (GOLDEN / "record_batches.txt").read_text().splitlines():
        codec, batch = line.split()
        (batches / codec).write_bytes(bytes.fromhex(batch))


if __name__ == "__main__":
    main()
