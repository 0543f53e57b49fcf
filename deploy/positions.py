#!/usr/bin/env python3
"""Shows where process and report stand, and forgets the position of process where a runbook says so.

    pip install kafka-python
    deploy/positions.py BROKERS                 shows both
    deploy/positions.py BROKERS forget-process  the position of process is damaged: it is found again in the topic seen

Stop process first. What is wrong with positions otherwise: hookline ledger recover. Both services keep more beside the offset than Kafka's own tools write, which is why
kafka-consumer-groups.sh cannot move them.
"""

import sys
import time

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

GROUPS = {"hookline-process": "hookline.raw.v1", "hookline-report": "hookline.events.v1"}


def lanes_of(consumer, topic):
    return [TopicPartition(topic, lane) for lane in sorted(consumer.partitions_for_topic(topic) or [])]


def show(brokers):
    for group, topic in GROUPS.items():
        consumer = KafkaConsumer(bootstrap_servers=brokers, group_id=group, enable_auto_commit=False)
        lanes = lanes_of(consumer, topic)
        low, high = consumer.beginning_offsets(lanes), consumer.end_offsets(lanes)
        for lane in lanes:
            at = consumer.committed(lane, metadata=True)
            where = f"{at.offset}  {at.metadata!r}" if at else "none"
            print(f"{group}  lane {lane.partition}  log {low[lane]} to {high[lane]}  position {where}")


def forget_process(brokers):
    admin = KafkaAdminClient(bootstrap_servers=brokers)
    for _ in range(30):
        outcome = admin.delete_groups(["hookline-process"])["hookline-process"]
        if outcome == "OK":
            return
        time.sleep(1)  # a broker that has just started loads its groups first
    sys.exit(f"the group hookline-process could not be deleted: {outcome}")


def main():
    match sys.argv[1:]:
        case [brokers]:
            pass
        case [brokers, "forget-process"]:
            forget_process(brokers)
        case _:
            sys.exit(__doc__)
    show(brokers)


main()
