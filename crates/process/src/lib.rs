//! One Kafka-to-Kafka step: adapt, deduplicate, enrich, route.
