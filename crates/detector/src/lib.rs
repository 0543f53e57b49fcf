//! Rules over signals, in transactions.
