//! A result set on its way to the client: batches drawn as they are needed, rows sent up to a limit, the rest kept.

use std::sync::Arc;

use futures::StreamExt;

use super::backend::Outbox;
use super::encode::{Format, WireBatch};
use crate::error::Result;
use crate::session::{EncodeSettings, OutputColumn, RowStream};

/// Where a result set stands. Dropping it cancels the query.
pub(super) struct RowCursor {
    rows: RowStream,
    columns: Arc<[OutputColumn]>,
    formats: Vec<Format>,
    tag: String,
    is_live: bool,
    /// A batch that is partly sent, and its next row.
    current: Option<(WireBatch, usize)>,
}

/// What one [`RowCursor::send`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub rows: usize,
    /// False: the limit was reached, there may be more.
    pub finished: bool,
}

impl RowCursor {
    pub fn new(
        rows: RowStream,
        columns: Arc<[OutputColumn]>,
        formats: Vec<Format>,
        tag: String,
        is_live: bool,
    ) -> Self {
        RowCursor { rows, columns, formats, tag, is_live, current: None }
    }

    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// The command tag, with the number of rows where the command has one.
    pub fn tag(&self, rows: usize) -> String {
        tag_of(&self.tag, rows)
    }

    /// Sends at most `rows_max` rows. Cancel-safe as far as messages go out whole.
    pub async fn send(&mut self, rows_max: usize, settings: &EncodeSettings, out: &mut Outbox) -> Result<Sent> {
        let mut sent = 0;
        loop {
            if let Some((batch, row)) = &mut self.current {
                while *row < batch.rows() && sent < rows_max {
                    let end = row.saturating_add(rows_max - sent).min(batch.rows());
                    let reached = batch.write(*row..end, settings, out)?;
                    sent += reached - *row;
                    *row = reached;
                    if out.is_full() {
                        out.flush_rows().await?;
                    }
                }
            }
            if sent >= rows_max {
                return Ok(Sent { rows: sent, finished: false });
            }
            self.current = match self.next(self.is_live || sent > 0, out).await? {
                Some(batch) => Some((batch, 0)),
                None => return Ok(Sent { rows: sent, finished: true }),
            };
        }
    }

    /// The next batch. Rows that wait in the buffer do not wait for a slow query, nor the description of a live one.
    async fn next(&mut self, rows_wait: bool, out: &mut Outbox) -> Result<Option<WireBatch>> {
        let next = match futures::poll!(self.rows.next()) {
            std::task::Poll::Ready(next) => next,
            std::task::Poll::Pending => {
                if rows_wait {
                    out.flush_rows().await?;
                }
                self.rows.next().await
            }
        };
        next.transpose()?.map(|batch| WireBatch::new(&batch, &self.columns, &self.formats)).transpose()
    }
}

/// Commands whose tags count rows; SHOW, EXPLAIN and their like have rows but no count.
fn tag_of(tag: &str, rows: usize) -> String {
    match tag {
        "SELECT" | "INSERT 0" | "UPDATE" | "DELETE" | "MERGE" | "FETCH" | "MOVE" | "COPY" => format!("{tag} {rows}"),
        tag => tag.to_owned(),
    }
}

#[cfg(test)]
mod tests;
