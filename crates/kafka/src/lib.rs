//! Producers, lanes and their fence, topics, lag: the only crate that names rdkafka.
