//! Rows expire: of a table some of the oldest, of a view all from before a time. Views that read them keep what they learned.

use super::history::{Client, definition, id_of};
use super::ledger::{Ledger, State};
use crate::catalog::{CatalogChange, Cutoff, RowRuns};
use crate::testing::SimRng;
use crate::types::{CommitNumber, RelationId, RowId};

/// Some rows expire, once a second checkpoint knows them. `learned`: what the first one covers.
pub async fn expire(client: &Client, rng: &SimRng, learned: CommitNumber, may_fail: bool) {
    let written = client.core.checkpointer.checkpoint().await;
    assert!(may_fail || written.is_ok(), "{written:?}");
    if written.is_err() {
        return;
    }
    let sequenced = {
        let mut ledger = client.ledger.lock();
        let known = ledger.state_at(learned);
        let views = |state: &State| state.catalog.materialized_views().map(|view| view.id).collect::<Vec<_>>();
        if views(&known) != views(&ledger.state) {
            return;
        }
        let change = match rng.one_in(2) {
            true => oldest_events(&mut ledger, &known, rng),
            false => old_beats(&mut ledger, rng, client.now_us()),
        };
        let Some(change) = change else { return };
        client.sequence(&mut ledger, definition(vec![change]))
    };
    client.acknowledge(sequenced.unwrap()).await;
}

fn oldest_events(ledger: &mut Ledger, known: &State, rng: &SimRng) -> Option<CatalogChange> {
    let table = id_of(known, "events").filter(|id| ledger.state.tables.contains_key(id))?;
    let present = |id: &RowId| ledger.state.tables[&table].contains_key(id);
    let rows: Vec<RowId> =
        known.tables[&table].keys().copied().take(1 + rng.below(4) as usize).filter(present).collect();
    ledger.expired += rows.len();
    Some(CatalogChange::Expire { table, before_us: 0, rows: RowRuns::new(rows) })
}

/// By a time that may be before an earlier one.
fn old_beats(ledger: &mut Ledger, rng: &SimRng, now_us: i64) -> Option<CatalogChange> {
    let view: RelationId = id_of(&ledger.state, "beats")?;
    ledger.cutoffs += 1;
    let cutoff = Cutoff { column: 1, before_us: now_us - rng.below(12_000) as i64 };
    Some(CatalogChange::ExpireView { view, cutoff })
}
