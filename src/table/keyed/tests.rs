//! Live rows by key.
