//! Rules: which events count and alert, and why.
