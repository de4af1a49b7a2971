//! Manifests, whole and damaged.
