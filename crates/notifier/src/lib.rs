//! Alerts into planned bundles, and bundles to their destinations.
