//! Platform payloads into events: batch splitting, required paths, key recipes.
