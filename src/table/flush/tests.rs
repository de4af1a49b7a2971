//! What a flush writes, and what it leaves.
