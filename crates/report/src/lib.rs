//! Events into ClickHouse blocks, read back, once each.
