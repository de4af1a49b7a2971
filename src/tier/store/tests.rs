//! Manifests in a store: which one counts, whose number it is.

use object_store::memory::InMemory;

use super::*;

fn tier() -> Arc<Tier> {
    Tier::new(Arc::new(InMemory::new()))
}

fn manifest(number: u64) -> Manifest {
    Manifest { number, commit: CommitNumber(number * 10), ..Manifest::default() }
}

async fn spoil(tier: &Tier, number: u64) {
    let path = Path::from(Manifest::path(number));
    tier.store.put(&path, PutPayload::from_static(b"{\"format\":1,\"crc")).await.unwrap();
}

#[tokio::test]
async fn the_newest_valid_manifest_counts_and_damage_is_told() -> Result<()> {
    let tier = tier();
    assert_eq!(tier.load().await?.manifest, Manifest::default());
    for number in [1, 2, 10] {
        tier.publish(&manifest(number)).await?;
    }
    assert_eq!(tier.load().await?.manifest.number, 10);
    spoil(&tier, 10).await;
    let loaded = tier.load().await?;
    assert_eq!(loaded.manifest.number, 2);
    assert_eq!(loaded.damaged.len(), 1);
    assert!(loaded.damaged[0].message().contains("00000000000000000010.json"));
    spoil(&tier, 1).await;
    spoil(&tier, 2).await;
    assert_eq!(tier.load().await.unwrap_err().state(), SqlState::DATA_CORRUPTED);
    Ok(())
}

#[tokio::test]
async fn a_number_is_taken_once() -> Result<()> {
    let tier = tier();
    let writer = |life: &str| WriterId { directory: "one".to_string(), life: life.to_string() };
    let ours = Manifest { writer: writer("a"), ..manifest(1) };
    assert_eq!(tier.publish(&ours).await?, Published::Done);
    // The same again: an answer was lost.
    assert_eq!(tier.publish(&ours).await?, Published::Done);
    // Another content of the same life: an attempt of unknown outcome came first.
    assert_eq!(tier.publish(&Manifest { next_row_id: 9, ..ours.clone() }).await?, Published::ByEarlierAttempt);
    let other = Manifest { writer: writer("b"), ..ours.clone() };
    assert_eq!(tier.publish(&other).await.unwrap_err().state(), SqlState::OBJECT_IN_USE);
    Ok(())
}

/// Who slept while others published and pruned finds its number free, and must not believe it.
#[tokio::test]
async fn a_number_that_was_pruned_is_not_free() -> Result<()> {
    let tier = tier();
    for number in 1..=12 {
        tier.publish(&manifest(number)).await?;
        tier.prune_manifests().await?;
    }
    assert_eq!(tier.manifest_numbers().await?, (5..=12).collect::<Vec<_>>());
    let writer = WriterId { directory: "another".to_string(), life: "a".to_string() };
    let late = Manifest { writer: writer.clone(), ..manifest(2) };
    assert_eq!(tier.publish(&late).await.unwrap_err().state(), SqlState::OBJECT_IN_USE);
    assert_eq!(tier.load().await?.manifest.number, 12);
    assert_eq!(tier.check_fence(12, &writer).await.map_err(|error| error.state()), Ok(()));
    assert_eq!(tier.check_fence(11, &writer).await.map_err(|error| error.state()), Err(SqlState::OBJECT_IN_USE));
    Ok(())
}
