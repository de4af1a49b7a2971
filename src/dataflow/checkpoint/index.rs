//! A checkpoint's index: the commit, and for each view its states with the places of their pages.
//!
//! One envelope of `state`, so one checksum over all of it.

use super::writer::ViewImage;
use crate::catalog::Cutoff;
use crate::dataflow::state::{KIND_CHECKPOINT, Reader, Writer};
use crate::error::{Error, Result};
use crate::types::{CommitNumber, RelationId};

/// A view's state as an index tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedView {
    pub view: RelationId,
    /// Of what the view was built from: state of another plan is of no use.
    pub plan: u128,
    /// Tables whose deltas have no negative weight, which operators were chosen by.
    pub append_only: Vec<RelationId>,
    /// What it did not show any more.
    pub cutoff: Option<Cutoff>,
    /// For `state::StateReader`.
    pub states: Vec<u8>,
}

/// What an index says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedCheckpoint {
    pub commit: CommitNumber,
    /// In the order of their ids.
    pub views: Vec<SavedView>,
}

impl SavedView {
    pub fn of(image: &ViewImage, states: Vec<u8>) -> Self {
        SavedView {
            view: image.view,
            plan: image.plan,
            append_only: image.append_only.clone(),
            cutoff: image.cutoff,
            states,
        }
    }
}

impl SavedCheckpoint {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new(KIND_CHECKPOINT, 0);
        writer.number(self.commit.0);
        writer.number(self.views.len() as u64);
        for view in &self.views {
            writer.number(view.view.0.into());
            writer.bytes(&view.plan.to_le_bytes());
            writer.number(view.append_only.len() as u64);
            view.append_only.iter().for_each(|table| writer.number(table.0.into()));
            writer.bytes(&view.states);
        }
        // Behind all else, where indexes from before there were any end.
        for (place, view) in self.views.iter().enumerate() {
            if let Some(cutoff) = view.cutoff {
                writer.number(place as u64);
                writer.number(cutoff.column as u64);
                writer.number(cutoff.before_us as u64);
            }
        }
        writer.finish()
    }

    /// Errors: XX001.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, KIND_CHECKPOINT)?;
        let commit = CommitNumber(reader.number()?);
        let mut views: Vec<SavedView> = (0..reader.number()?).map(|_| view(&mut reader)).collect::<Result<_>>()?;
        while !reader.is_empty() {
            let place = usize::try_from(reader.number()?).map_err(|_| damaged())?;
            let column = usize::try_from(reader.number()?).map_err(|_| damaged())?;
            let cutoff = Cutoff { column, before_us: reader.number()? as i64 };
            views.get_mut(place).ok_or_else(damaged)?.cutoff = Some(cutoff);
        }
        reader.finish()?;
        Ok(SavedCheckpoint { commit, views })
    }
}

fn view(reader: &mut Reader<'_>) -> Result<SavedView> {
    let view = relation(reader)?;
    let plan = reader.bytes()?.try_into().map_err(|_| damaged())?;
    let append_only = (0..reader.number()?).map(|_| relation(reader)).collect::<Result<_>>()?;
    Ok(SavedView { view, plan: u128::from_le_bytes(plan), append_only, cutoff: None, states: reader.bytes()?.to_vec() })
}

fn relation(reader: &mut Reader<'_>) -> Result<RelationId> {
    Ok(RelationId(u32::try_from(reader.number()?).map_err(|_| damaged())?))
}

fn damaged() -> Error {
    Error::corrupted("the checkpoint's index does not read back")
}
