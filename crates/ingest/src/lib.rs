//! The HTTP edge: authenticate, bound, split, append, answer.
