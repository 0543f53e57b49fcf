//! Webhook authentication: verify what a sender signed, and sign what we send.
