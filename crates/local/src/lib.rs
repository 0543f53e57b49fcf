//! The local engines: real Kafka and real ClickHouse as supervised children.
