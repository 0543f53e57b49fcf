//! Fixtures, engines for tests, load generator, crash oracle.
