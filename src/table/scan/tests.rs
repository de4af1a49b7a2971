//! Scans over hot rows, files and tombstones.
