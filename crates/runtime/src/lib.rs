//! Metrics, tracing, health, shutdown.
