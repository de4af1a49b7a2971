//! Bounds of columns.
