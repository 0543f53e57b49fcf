//! Nothing lives here: see `pipeline/`.
