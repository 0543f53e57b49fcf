//! Panes, thresholds and rule states over pre-aggregated signals.
