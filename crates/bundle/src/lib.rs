//! Grouping alerts into few messages: groups, windows, deterministic bundle ids, templates.
