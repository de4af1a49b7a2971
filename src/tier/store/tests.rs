//! Files and manifests in a store.
