"""Record batches (magic 2) in plain Python: build valid and invalid ones, and read what a fetch returned."""

import gzip
import struct
import time
import zlib
from dataclasses import dataclass, field

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
HEADER = struct.Struct(">qiibIhiqqqhii")  # 61 bytes: base offset .. record count
HEADER_BYTES = HEADER.size


def _crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


@dataclass
class Record:
    """key and value are bytes or None; offset and timestamp are set by the reader."""
    key: bytes = None
    value: bytes = None
    headers: list = field(default_factory=list)
    timestamp: int = None
    offset: int = None
    partition: int = 0

    def same_content(self, other):
        return (self.key, self.value, self.headers) == (other.key, other.value, other.headers)


def varint(value):
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(data):
    return varint(-1) if data is None else varint(len(data)) + data


def compress(codec, data):
    if codec == "gzip":
        return gzip.compress(data)
    if codec == "snappy":
        import snappy
        return snappy.compress(data)
    if codec == "lz4":
        import lz4.frame
        return lz4.frame.compress(data)
    if codec == "zstd":
        import zstandard
        return zstandard.ZstdCompressor().compress(data)
    return data


def _unsnappy(data):
    import snappy
    if not data.startswith(b"\x82SNAPPY\0"):
        return snappy.decompress(data)
    out, pos = bytearray(), 16  # the framing of snappy-java
    while pos < len(data):
        size = struct.unpack_from(">i", data, pos)[0]
        out += snappy.decompress(data[pos + 4:pos + 4 + size])
        pos += 4 + size
    return bytes(out)


def decompress(codec, data):
    if codec == "gzip":
        return zlib.decompress(data, 47)
    if codec == "snappy":
        return _unsnappy(data)
    if codec == "lz4":
        import lz4.frame
        return lz4.frame.decompress(data)
    if codec == "zstd":
        import zstandard
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


def now_ms():
    return int(time.time() * 1000)


def build_batch(records, codec="none", **overrides):
    """A batch as a producer sends it. overrides: any header field by name, `bad_crc=True`, `codec_bits`."""
    base_time = overrides.pop("base_timestamp", None)
    times = [r.timestamp for r in records if r.timestamp is not None]
    if base_time is None:
        base_time = times[0] if times else now_ms()
    body = bytearray()
    for i, record in enumerate(records):
        stamp = base_time if record.timestamp is None else record.timestamp
        one = b"\0" + varint(stamp - base_time) + varint(i) + _bytes(record.key) + _bytes(record.value)
        one += varint(len(record.headers))
        for name, value in record.headers:
            one += _bytes(name.encode()) + _bytes(value)
        body += varint(len(one)) + one
    payload = compress(codec, bytes(body))
    values = {
        "base_offset": 0, "leader_epoch": -1, "magic": 2, "attributes": CODECS.index(codec),
        "last_offset_delta": len(records) - 1, "base_timestamp": base_time,
        "max_timestamp": max(times, default=base_time), "producer_id": -1, "producer_epoch": -1,
        "base_sequence": -1, "count": len(records), "length": HEADER_BYTES - 12 + len(payload),
    }
    bad_crc = overrides.pop("bad_crc", False)
    values.update(overrides)
    v = values
    tail = struct.pack(">hiqqqhii", v["attributes"], v["last_offset_delta"], v["base_timestamp"], v["max_timestamp"],
                       v["producer_id"], v["producer_epoch"], v["base_sequence"], v["count"]) + payload
    crc = crc32c(tail) ^ (1 if bad_crc else 0)
    return struct.pack(">qiibI", v["base_offset"], v["length"], v["leader_epoch"], v["magic"], crc) + tail


def batch_of(values, codec="none", **overrides):
    return build_batch([Record(value=v) for v in values], codec, **overrides)


class BadBatch(Exception):
    pass


class _Cursor:
    def __init__(self, data):
        self.data, self.pos = data, 0

    def varint(self):
        value = shift = 0
        while True:
            byte = self.data[self.pos]
            self.pos += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value >> 1 ^ -(value & 1)

    def bytes(self):
        size = self.varint()
        if size < 0:
            return None
        self.pos += size
        return bytes(self.data[self.pos - size:self.pos])


def batch_headers(data):
    """Yields (header values, payload) for each whole batch; a cut last batch is allowed, as Kafka allows it."""
    pos = 0
    while pos + 12 <= len(data):
        length = struct.unpack_from(">i", data, pos + 8)[0]
        if pos + 12 + length > len(data):
            return
        header = HEADER.unpack_from(data, pos)
        yield header, data[pos + HEADER_BYTES:pos + 12 + length], data[pos + 21:pos + 12 + length]
        pos += 12 + length


def read_batches(data, check_crc=True, compacted=False):
    """All records of a fetched set; raises BadBatch when a checksum or a count is wrong."""
    records = []
    for header, payload, covered in batch_headers(data or b""):
        base, _, _, magic, crc, attributes, last_delta, base_time, max_time, _, _, _, count = header
        if magic != 2:
            raise BadBatch(f"magic {magic} at base offset {base}")
        if check_crc and crc32c(covered) != crc:
            raise BadBatch(f"checksum of the batch at base offset {base}")
        if attributes & 0x20:
            continue
        cursor = _Cursor(decompress(CODECS[attributes & 7], payload))
        for i in range(count):
            cursor.varint()
            cursor.pos += 1
            stamp = base_time + cursor.varint()
            offset = base + cursor.varint()
            key, value = cursor.bytes(), cursor.bytes()
            headers = []
            for _ in range(cursor.varint()):
                name = cursor.bytes().decode()
                headers.append((name, cursor.bytes()))
            records.append(Record(key, value, headers, max_time if attributes & 8 else stamp, offset))
        if last_delta != count - 1 and not compacted:
            raise BadBatch(f"last offset delta {last_delta} with {count} records at {base}")
    return records


# The line format of the client programs: partition, timestamp, key, value, headers, separated by tabs.

def hex_of(data):
    return "-" if data is None else "x" + data.hex()


def unhex(text):
    return None if text == "-" else bytes.fromhex(text[1:])


def to_line(record):
    headers = ",".join(f"{name}:{hex_of(value)}" for name, value in record.headers)
    stamp = "-" if record.timestamp is None else str(record.timestamp)
    return f"{record.partition}\t{stamp}\t{hex_of(record.key)}\t{hex_of(record.value)}\t{headers}"


def from_line(line):
    offset, partition, stamp, key, value, *rest = line.split("\t")
    headers = []
    for part in (rest[0].split(",") if rest and rest[0] else []):
        name, text = part.split(":")
        headers.append((name, unhex(text)))
    return Record(unhex(key), unhex(value), headers, int(stamp), int(offset), int(partition))
