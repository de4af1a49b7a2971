//! The durable local store: puts, create-if-absent, what lists show; stores by URL.

use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::*;

fn store() -> (tempfile::TempDir, DurableLocalStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = DurableLocalStore::open(&directory.path().join("a/b")).unwrap();
    (directory, store)
}

#[tokio::test]
async fn what_was_put_is_read_listed_and_deleted() {
    let (_directory, store) = store();
    let path = Path::from("data/16384/x.parquet");
    store.put(&path, PutPayload::from_static(b"one")).await.unwrap();
    store.put(&path, PutPayload::from_static(b"three")).await.unwrap();
    assert_eq!(store.get_range(&path, 1..3).await.unwrap().as_ref(), b"hr");
    // A temporary file that a crash left behind is not an object.
    std::fs::write(store.root.join("data/16384/y.parquet#123"), "left").unwrap();
    let listed: Vec<_> = store.list(Some(&Path::from("data"))).try_collect().await.unwrap();
    assert_eq!(listed.iter().map(|object| object.location.to_string()).collect::<Vec<_>>(), [path.to_string()]);
    store.delete(&path).await.unwrap();
    assert!(matches!(store.get(&path).await, Err(object_store::Error::NotFound { .. })));
}

#[tokio::test]
async fn only_one_of_many_creates_a_name() {
    let (_directory, store) = store();
    let store = Arc::new(store);
    let path = Path::from("manifest/1.json");
    let attempts = (0..8_u8).map(|writer| {
        let (store, path) = (store.clone(), path.clone());
        tokio::spawn(async move {
            store.put_opts(&path, PutPayload::from(vec![writer]), PutMode::Create.into()).await.map(|_| writer)
        })
    });
    let mut winners = Vec::new();
    for attempt in futures::future::join_all(attempts).await {
        match attempt.unwrap() {
            Ok(writer) => winners.push(writer),
            Err(error) => assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap().as_ref(), &winners[..]);
    assert_eq!(std::fs::read_dir(store.root.join("manifest")).unwrap().count(), 1);
}

#[test]
fn stores_by_url() {
    let directory = tempfile::tempdir().unwrap();
    let default = directory.path().join("tier");
    assert!(open_store("", &default).unwrap().to_string().ends_with("/tier)"));
    assert!(open_store(&format!("file://{}", default.display()), &default).is_ok());
    assert!(open_store("memory://", &default).is_ok());
    let refused = |url: &str| open_store(url, &default).unwrap_err().state();
    assert_eq!(refused("s3://bucket/prefix"), SqlState::FEATURE_NOT_SUPPORTED);
    assert_eq!(refused("gs://bucket"), SqlState::FEATURE_NOT_SUPPORTED);
    assert_eq!(refused("ftp://host"), SqlState::INVALID_PARAMETER);
    assert_eq!(refused("file://host/path"), SqlState::INVALID_PARAMETER);
}
