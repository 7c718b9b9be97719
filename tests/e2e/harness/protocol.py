"""A raw Kafka client: encodes any request of schema.py at any version, over one plain socket."""

import socket
import struct

from .schema import APIS

FIXED = {"int8": ">b", "int16": ">h", "int32": ">i", "int64": ">q", "bool": ">?"}


class ProtocolError(Exception):
    """The server closed the connection or sent something malformed."""


def put_uvarint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put_length(length, flexible, short):
    """length is None for null."""
    if flexible:
        return put_uvarint(0 if length is None else length + 1)
    return struct.pack(">h" if short else ">i", -1 if length is None else length)


def encode_value(kind, value, flexible):
    if kind in FIXED:
        return struct.pack(FIXED[kind], value)
    if kind == "uuid":
        return value or bytes(16)
    data = value.encode() if isinstance(value, str) else value
    return put_length(None if data is None else len(data), flexible, kind == "string") + (data or b"")


NULL_UNLESS_GIVEN = ("transactional_id", "group_instance_id", "reason")


def default_of(field):
    if field.kind == "bool":
        return False
    if field.kind in FIXED:
        return -1 if field.name in ("current_leader_epoch", "last_fetched_epoch", "replica_id") else 0
    if field.kind.startswith("[]"):
        return []
    return None if field.kind == "bytes" or field.name in NULL_UNLESS_GIVEN else ""


def encode_struct(fields, values, version, flexible):
    unknown = set(values) - {f.name for f in fields}
    if unknown:
        raise KeyError(f"unknown fields {unknown}")
    out = bytearray()
    for field in fields:
        if not field.present(version):
            continue
        value = values.get(field.name, default_of(field))
        if field.kind.startswith("[]"):
            out += put_length(None if value is None else len(value), flexible, False)
            for item in value or []:
                if field.kind == "[]":
                    out += encode_struct(field.children, item, version, flexible)
                else:
                    out += encode_value(field.kind[2:], item, flexible)
        else:
            out += encode_value(field.kind, value, flexible)
    if flexible:
        out += b"\0"
    return bytes(out)


class Reader:
    def __init__(self, data):
        self.data, self.pos = data, 0

    def take(self, size):
        if self.pos + size > len(self.data):
            raise ProtocolError(f"truncated: wants {size} bytes at {self.pos} of {len(self.data)}")
        self.pos += size
        return self.data[self.pos - size:self.pos]

    def fixed(self, code):
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def length(self, flexible, short):
        if flexible:
            value = self.uvarint()
            return None if value == 0 else value - 1
        value = self.fixed(">h" if short else ">i")
        return None if value < 0 else value

    def value(self, kind, flexible):
        if kind in FIXED:
            return self.fixed(FIXED[kind])
        if kind == "uuid":
            return self.take(16)
        size = self.length(flexible, kind == "string")
        if size is None:
            return None
        data = self.take(size)
        return data.decode() if kind == "string" else data

    def tags(self):
        for _ in range(self.uvarint()):
            self.uvarint()
            self.take(self.uvarint())

    def struct(self, fields, version, flexible):
        values = {}
        for field in fields:
            if not field.present(version):
                continue
            if field.kind.startswith("[]"):
                count = self.length(flexible, False)
                if count is None:
                    values[field.name] = None
                elif field.kind == "[]":
                    values[field.name] = [self.struct(field.children, version, flexible) for _ in range(count)]
                else:
                    values[field.name] = [self.value(field.kind[2:], flexible) for _ in range(count)]
            else:
                values[field.name] = self.value(field.kind, flexible)
        if flexible:
            self.tags()
        return values


def request_bytes(name, version, body, correlation_id, client_id="raw-e2e", wire_version=None):
    """A whole frame with its length prefix. wire_version overrides the version named in the header only."""
    api = APIS[name]
    flexible = version >= api.flexible
    header = struct.pack(">hhi", api.key, version if wire_version is None else wire_version, correlation_id)
    header += encode_value("string", client_id, False)
    if flexible:
        header += b"\0"
    payload = header + encode_struct(api.request, body, version, flexible)
    return struct.pack(">i", len(payload)) + payload


class RawClient:
    """One connection. Not thread-safe."""

    def __init__(self, port, timeout=10.0, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation_id = 0
        self.expected = []  # (correlation id, api, version) of what is not answered yet

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, name, version, body=None, answered=True):
        self.correlation_id += 1
        if answered:
            self.expected.append((self.correlation_id, name, version))
        self.socket.sendall(request_bytes(name, version, body or {}, self.correlation_id))
        return self.correlation_id

    def read_exactly(self, size):
        data = bytearray()
        while len(data) < size:
            try:
                piece = self.socket.recv(min(size - len(data), 1 << 20))
            except ConnectionError as error:
                raise ProtocolError(f"connection reset after {len(data)} of {size} bytes") from error
            if not piece:
                raise ProtocolError(f"connection closed after {len(data)} of {size} bytes")
            data += piece
        return bytes(data)

    def read_frame(self):
        size = struct.unpack(">i", self.read_exactly(4))[0]
        if not 0 <= size <= 1 << 30:
            raise ProtocolError(f"response length {size}")
        return self.read_exactly(size)

    def receive(self, body_version=None):
        """Reads the next answer, checks that it belongs to the oldest request, and decodes all of it."""
        correlation_id, name, version = self.expected.pop(0)
        reader = Reader(self.read_frame())
        got = reader.fixed(">i")
        if got != correlation_id:
            raise ProtocolError(f"answer to request {got} where {correlation_id} ({name}) was due")
        api = APIS[name]
        version = version if body_version is None else body_version
        flexible = version >= api.flexible
        if flexible and name != "ApiVersions":
            reader.tags()
        values = reader.struct(api.response, version, flexible)
        if reader.pos != len(reader.data):
            raise ProtocolError(f"{name} v{version}: {len(reader.data) - reader.pos} bytes too many")
        return values

    def call(self, name, version, body=None):
        self.send(name, version, body)
        return self.receive()

    def closed_by_server(self, timeout=5.0):
        """True when the server ends the connection within the time."""
        self.socket.settimeout(timeout)
        try:
            while True:
                if not self.socket.recv(65536):
                    return True
        except ConnectionError:
            return True
        except socket.timeout:
            return False

    # Shorthands for one topic and one partition.

    def produce(self, topic, partition, records, acks=-1, version=9, timeout_ms=10000):
        answer = self.call("Produce", version, produce_body(topic, partition, records, acks, timeout_ms))
        return answer["topics"][0]["partitions"][0]

    def fetch(self, topic, partition, offset, version=11, **options):
        body = fetch_body(topic, partition, offset, **options)
        if version >= 13:
            body["topics"][0]["topic_id"] = self.metadata([topic], 12)["topics"][0]["topic_id"]
        return self.call("Fetch", version, body)["topics"][0]["partitions"][0]

    def list_offset(self, topic, partition, timestamp, version=5):
        body = {"topics": [{"name": topic, "partitions": [{"index": partition, "timestamp": timestamp}]}]}
        return self.call("ListOffsets", version, body)["topics"][0]["partitions"][0]

    def create_topic(self, name, partitions=1, configs=None, version=5, **options):
        topic = {"name": name, "num_partitions": partitions, "replication_factor": options.pop("replication", 1),
                 "configs": [{"name": k, "value": v} for k, v in (configs or {}).items()]}
        body = {"topics": [topic], "timeout_ms": 10000, **options}
        return self.call("CreateTopics", version, body)["topics"][0]

    def delete_topic(self, name, version=3):
        if version >= 6:
            body = {"topics": [{"name": name}], "timeout_ms": 10000}
        else:
            body = {"topic_names": [name], "timeout_ms": 10000}
        return self.call("DeleteTopics", version, body)["responses"][0]

    def metadata(self, names, version=8, auto_create=False):
        topics = None if names is None else [{"name": n} for n in names]
        body = {"topics": topics}
        if version >= 4:
            body["allow_auto_topic_creation"] = auto_create
        return self.call("Metadata", version, body)


def produce_body(topic, partition, records, acks=-1, timeout_ms=10000):
    return {"acks": acks, "timeout_ms": timeout_ms,
            "topics": [{"name": topic, "partitions": [{"index": partition, "records": records}]}]}


def fetch_body(topic, partition, offset, max_wait_ms=500, min_bytes=1, max_bytes=1 << 20, partition_max_bytes=1 << 20,
               session_id=0, session_epoch=-1, leader_epoch=-1):
    return {"replica_id": -1, "max_wait_ms": max_wait_ms, "min_bytes": min_bytes, "max_bytes": max_bytes,
            "session_id": session_id, "session_epoch": session_epoch,
            "topics": [{"name": topic, "partitions": [
                {"index": partition, "fetch_offset": offset, "max_bytes": partition_max_bytes,
                 "current_leader_epoch": leader_epoch, "log_start_offset": -1}]}]}
