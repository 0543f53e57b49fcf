"""A stream processor that knows Kafka, Avro and the folder `schemas/`, and nothing else of Hookline.

Values are in the Confluent wire format; the ids in it are looked up in schemas/index.json, as in a registry. With a REGISTRY
they are looked up there, by HTTP, and what it does not call an event of Hookline was written before there was a registry.

usage: decode_events.py BROKERS SCHEMAS_FOLDER TOPIC [REGISTRY]
"""

import io
import json
import struct
import sys
import urllib.request
from functools import cache
from pathlib import Path

import fastavro
from confluent_kafka import Consumer, KafkaError, TopicPartition

brokers, folder, topic, registry = sys.argv[1], Path(sys.argv[2]), sys.argv[3], (sys.argv[4:] or [None])[0]

schemas = {}
for versions in json.loads((folder / "index.json").read_text())["subjects"].values():
    for version in versions.values():
        schemas[version["id"]] = fastavro.parse_schema(json.loads((folder / version["file"]).read_text()))


@cache
def schema_of(schema_id):
    if registry:
        with urllib.request.urlopen(f"{registry}/schemas/ids/{schema_id}", timeout=10) as answer:
            schema = json.loads(json.load(answer)["schema"])
        if schema.get("namespace") == "hookline.v1":
            return fastavro.parse_schema(schema)
    return schemas[schema_id]


def decode(value):
    magic, schema_id = struct.unpack(">bI", value[:5])
    assert magic == 0, f"not the Confluent wire format: {value[:5]}"
    rest = io.BytesIO(value[5:])
    event = fastavro.schemaless_reader(rest, schema_of(schema_id))
    assert not rest.read(), "bytes are left behind the record"
    return event


consumer = Consumer(
    {
        "bootstrap.servers": brokers,
        "group.id": "decode-events",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    }
)
partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
unread, records = set(partitions), []
while unread:
    message = consumer.poll(30)
    if message is None:
        sys.exit(f"no message within 30 s; unread: {unread}")
    if message.error():
        assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
        unread.discard(message.partition())
    elif message.value() is not None:  # A record without a value is a cut: the end of a block.
        event = decode(message.value())
        records.append([message.partition(), event["raw_offset"], event["outcome"], event["event_key"]])
consumer.close()
print(json.dumps(sorted(records)))
