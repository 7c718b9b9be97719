#!/usr/bin/python3
"""A group member of a stock Python client in a process of its own.

  group_member.py confluent|python BOOTSTRAP GROUP TOPIC

Prints 'partition offset value' for every record and commits what it has printed; SIGTERM ends it cleanly.
"""

import signal
import sys

running = True


def stop(*_):
    global running
    running = False


def confluent(bootstrap, group, topic):
    import confluent_kafka as ck
    consumer = ck.Consumer({"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
                            "enable.auto.commit": False, "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
                            "topic.metadata.refresh.interval.ms": 1000, "fetch.wait.max.ms": 100, "log_level": 0,
                            "reconnect.backoff.max.ms": 500})
    consumer.subscribe([topic])
    while running:
        message = consumer.poll(0.1)
        if message is None or message.error():
            continue
        print(message.partition(), message.offset(), message.value().decode(), flush=True)
        try:
            consumer.commit(message=message, asynchronous=False)
        except ck.KafkaException:
            pass  # a rebalance: the next owner begins where the last commit was
    consumer.close()


def python(bootstrap, group, topic):
    import kafka
    from kafka.errors import KafkaError
    consumer = kafka.KafkaConsumer(topic, group_id=group, bootstrap_servers=bootstrap.split(","),
                                   auto_offset_reset="earliest", enable_auto_commit=False, session_timeout_ms=6000,
                                   heartbeat_interval_ms=500, metadata_max_age_ms=1000, request_timeout_ms=7000,
                                   reconnect_backoff_max_ms=300, api_version_auto_timeout_ms=5000)
    while running:
        try:
            for records in consumer.poll(timeout_ms=100).values():
                for record in records:
                    print(record.partition, record.offset, record.value.decode(), flush=True)
                consumer.commit()
        except KafkaError:
            pass  # likewise
    consumer.close(autocommit=False)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    {"confluent": confluent, "python": python}[sys.argv[1]](*sys.argv[2:5])
