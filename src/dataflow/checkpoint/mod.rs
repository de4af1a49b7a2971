//! Checkpoints: the state of all views at one commit, at rest, so that a start reads it instead of making the views again.
//!
//! ```text
//! worker, between two steps: every state cloned, sharing its pages       (the image)
//! checkpoints:               pages that are not at rest -> state/NNN.pages, synced
//!                            which page is where        -> state/NNN.checkpoint, renamed into place
//! log:                       kept from the older of the two newest checkpoints on
//! ```
//!
//! A checkpoint costs what changed since the one before, by pages. The same files take pages that leave because memory is
//! full, so that a page is written once, whoever asks first. What a damaged or missing checkpoint costs is time: its views
//! are made again from the tables.
//!
//! Does not know: when to make one, what operators mean by their states.

mod files;
mod index;
mod pages;
mod schedule;
mod survey;
mod writer;

pub use index::{SavedCheckpoint, SavedView};
pub use pages::PageFiles;
pub use schedule::Checkpointer;
pub use survey::{StateDamage, StateSurvey, SurveyedCheckpoint, SurveyedView, survey};
pub use writer::{CheckpointImage, Checkpoints, Found, ViewImage, Written};

/// Below the data directory.
pub const DIRECTORY: &str = "state";
