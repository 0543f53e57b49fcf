//! Channel, referrer class, bots, internal and test traffic.
