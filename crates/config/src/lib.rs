//! hookline.toml as one checked whole.
