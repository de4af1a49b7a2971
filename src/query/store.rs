//! The only bytes that a query can reach: our tier, under one private scheme.
//!
//! File scans look their store up in this registry by the URL that they were planned with. Nothing else is in it, so
//! that neither `file://` nor a bucket can be named by any SQL.

use std::sync::Arc;

use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry, ObjectStoreUrl};
use object_store::ObjectStore;

use crate::error::Result;

/// Where `table`'s cold scans find the tier's files.
pub const TIER_URL: &str = "tidemark-tier://tier";

/// A registry of one store. DataFusion's default one discovers nothing by itself, and starts with the local file system
/// alone, which is taken out.
pub fn tier_only_registry(tier: Arc<dyn ObjectStore>) -> Result<Arc<dyn ObjectStoreRegistry>> {
    let registry = DefaultObjectStoreRegistry::new();
    registry.deregister_store(ObjectStoreUrl::local_filesystem().as_ref())?;
    registry.register_store(ObjectStoreUrl::parse(TIER_URL)?.as_ref(), tier);
    Ok(Arc::new(registry))
}
