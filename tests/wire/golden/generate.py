#!/usr/bin/env python3
"""Writes the golden messages beside this file: one text file per API.

The bytes come from kafka-python 3 (pip install kafka-python==3.0.12), whose encoder runs Apache Kafka's own
message definitions (JSON); nothing of this project takes part. Every (API, version, direction) appears twice:
"full" with every field set to a distinct value, "null" with nulls, empty arrays and defaults. Each golden is
three lines: what it is, the body in hex (no header), and the values in wire order with Kafka's field names.
"""

import importlib
import pathlib
import pkgutil
import uuid

import kafka.protocol
from kafka.protocol.schemas.fields.codecs import BitField

# Ranges as kApis in include/esc/wire/api.h has them (versions the codecs speak).
APIS = {
    "Produce": (3, 9), "Fetch": (4, 17), "ListOffsets": (1, 9), "Metadata": (0, 12), "ApiVersions": (0, 4),
    "CreateTopics": (2, 7), "DeleteTopics": (1, 6), "CreatePartitions": (0, 3), "DescribeConfigs": (1, 4),
    "DescribeCluster": (0, 1), "InitProducerId": (0, 4), "FindCoordinator": (0, 4), "OffsetCommit": (2, 8),
    "OffsetFetch": (1, 8), "JoinGroup": (0, 9), "SyncGroup": (0, 5), "Heartbeat": (0, 4), "LeaveGroup": (0, 5),
    "DeleteRecords": (0, 2), "OffsetForLeaderEpoch": (2, 4), "AlterConfigs": (0, 2), "IncrementalAlterConfigs": (0, 1),
    "DescribeLogDirs": (1, 4),
    "DescribeGroups": (0, 5), "ListGroups": (0, 4), "DeleteGroups": (0, 2), "OffsetDelete": (0, 0),
}
# Fields this project leaves to the skipping of unknown tags.
IGNORED = {"snapshot_id", "node_endpoints"}
INT_BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}


def find_class(name):
    for module in pkgutil.walk_packages(kafka.protocol.__path__, "kafka.protocol."):
        if ".old" in module.name:
            continue
        found = getattr(importlib.import_module(module.name), name, None)
        if found is not None:
            return found
    raise SystemExit(f"kafka-python has no {name}")


class Values:
    """Distinct values, so that two exchanged fields of one type are noticed."""

    def __init__(self, full):
        self.full = full
        self.count = 0

    def scalar(self, kind):
        self.count += 1
        if kind == "bool":
            return self.count % 2 == 1
        if kind == "uuid":
            return uuid.UUID(int=(self.count << 64) | 0xABCDEF)
        if kind == "string":
            return f"text-{self.count}"
        if kind in ("bytes", "records"):
            return bytes((self.count + i) % 256 for i in range(150 if kind == "records" else 5))
        bits = INT_BITS[kind]
        return self.count if bits == 8 else (1 << (bits - 2)) + self.count


def show(kind, value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, uuid.UUID):
        return "#" + value.hex
    if isinstance(value, str):
        return f'"{value}"'
    return str(value)


def element(field, kind, version, values, owner):
    """(python value, its text) of one value of a field, or of one item of an array field."""
    if field.fields is not None:
        return struct(getattr(owner, field.type_str.lstrip("[]"), None) or field.data_class, field, version, values)
    if field.__dict__.get("_type") is BitField:
        values.count += 1
        return {3, 5}, "40"
    value = values.scalar(kind)
    return value, show(kind, value)


def kafka_name(field, siblings):
    """kafka-python shortens one name of Kafka's definitions."""
    if field.name != "authorized_operations" or "group_state" in siblings:
        return field.name
    return ("topic_" if "is_internal" in siblings else "cluster_") + field.name


def struct(make, schema, version, values):
    arguments, texts, tagged = {}, [], []
    fields = schema.fields.values() if isinstance(schema.fields, dict) else schema.fields
    siblings = {field.name for field in fields}
    for field in fields:
        if not field.for_version_q(version) or field.name in IGNORED:
            continue
        kind = field.type_str.lstrip("[]")
        is_tagged = field.tagged_field_q(version)
        if is_tagged and not values.full:
            continue
        if not values.full and field.nullable_for_version_q(version):
            value, text = None, "null"
        elif field.is_array() or field.is_struct_array():
            items = []
            if values.full:
                inner = field.array_of if hasattr(field, "array_of") else field
                items = [element(inner, kind, version, values, make) for _ in range(2)]
            value, text = [item[0] for item in items], "[" + " ".join(item[1] for item in items) + "]"
        elif not values.full and kind in ("string", "bytes", "records"):
            value = "" if kind == "string" else b""
            text = show(kind, value)
        elif kind == "uuid" and not values.full:
            value = uuid.UUID(int=0)
            text = show(kind, value)
        else:
            value, text = element(field, kind, version, values, make)
            if is_tagged and kind == "bool":  # false is the default, which is not sent
                value, text = True, "true"
        arguments[field.name] = value
        (tagged if is_tagged else texts).append((field.tag or 0, f"{kafka_name(field, siblings)}={text}"))
    tagged.sort()
    return make(version=version, **arguments), "{" + " ".join(t for _, t in texts + tagged) + "}"


def main():
    here = pathlib.Path(__file__).parent
    for name, (low, high) in APIS.items():
        lines = []
        for direction in ("Request", "Response"):
            message = find_class(name + direction)
            for version in range(low, high + 1):
                for variant in ("full", "null"):
                    value, text = struct(message, message._struct, version, Values(variant == "full"))
                    lines += [f"{name}{direction} {version} {variant}", bytes(value.encode(version=version)).hex(), text]
        (here / f"{name}.txt").write_text("\n".join(lines) + "\n")
        print(name, len(lines) // 3)


if __name__ == "__main__":
    main()
