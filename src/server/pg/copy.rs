//! COPY's sub-protocol, in both directions, the same under simple and extended queries.

use std::task::Poll;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::backend::Outbox;
use super::cancel::Interrupt;
use super::connection::{Client, Failure};
use super::frontend::Message;
use super::gate::violation;
use crate::error::{Error, Result, SqlState};
use crate::session::{CopyChunk, CopyFormat, CopyInSink};

impl Client {
    /// Takes the client's data until it says done. Whatever ends it otherwise (a failure of either side, a cancel
    /// request, a connection that breaks) drops the sink, and nothing of the statement is kept.
    pub(super) async fn copy_in(
        &mut self,
        mut sink: Box<dyn CopyInSink>,
        columns: usize,
        interrupt: &mut Interrupt,
    ) -> Result<String, Failure> {
        self.out.copy_in(columns);
        self.flush().await?;
        loop {
            match self.copy_message(interrupt).await? {
                Message::CopyData(bytes) => interrupt.run(sink.write(&bytes)).await?,
                Message::CopyDone => {
                    // Not interruptible: from here on the rows are being committed.
                    let rows = sink.finish().await?;
                    return Ok(format!("COPY {rows}"));
                }
                Message::CopyFail(reason) => {
                    let message = format!("COPY from stdin failed: {reason}");
                    return Err(Error::new(SqlState::QUERY_CANCELED, message).into());
                }
                // Sync may have been sent with Execute, before COPY was known to be one.
                Message::Flush | Message::Sync => {}
                Message::Terminate => return Err(Failure::Gone),
                _ => return Err(violation("unexpected message during COPY from stdin").into()),
            }
        }
    }

    async fn copy_message(&mut self, interrupt: &mut Interrupt) -> Result<Message, Failure> {
        let (reader, phase) = (&mut self.reader, self.phase);
        let frame = interrupt.run(async { Ok(reader.frame(phase).await) }).await?;
        match frame.map_err(Failure::Fatal)? {
            Some(frame) => Ok(Message::decode(frame)?),
            None => Err(Failure::Gone),
        }
    }

    pub(super) async fn copy_out(
        &mut self,
        mut chunks: BoxStream<'static, Result<CopyChunk>>,
        columns: usize,
        format: CopyFormat,
        interrupt: &mut Interrupt,
    ) -> Result<String, Failure> {
        self.out.copy_out(columns);
        let out = &mut self.out;
        let rows = interrupt
            .run(async {
                let mut rows = 0;
                while let Some(chunk) = next(&mut chunks, out).await.transpose()? {
                    rows += chunk.rows;
                    for line in lines(&chunk, format) {
                        out.copy_data(line)?;
                    }
                    if out.is_full() {
                        out.flush_rows().await?;
                    }
                }
                Ok(rows)
            })
            .await?;
        self.out.copy_done();
        Ok(format!("COPY {rows}"))
    }
}

/// The next chunk. What was made before does not wait for a slow one.
async fn next(chunks: &mut BoxStream<'static, Result<CopyChunk>>, out: &mut Outbox) -> Option<Result<CopyChunk>> {
    if let Poll::Ready(next) = futures::poll!(chunks.next()) {
        return next;
    }
    match out.flush_rows().await {
        Ok(()) => chunks.next().await,
        Err(error) => Some(Err(error)),
    }
}

/// One CopyData message per row, as PostgreSQL sends them and some clients count on. A csv row may hold line breaks of
/// its own; where the count of breaks says so, the chunk goes out in one piece, which the protocol allows.
fn lines(chunk: &CopyChunk, format: CopyFormat) -> Vec<&[u8]> {
    let bytes: &Bytes = &chunk.bytes;
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    if format == CopyFormat::Text || lines.len() as u64 == chunk.rows {
        lines
    } else if bytes.is_empty() {
        Vec::new()
    } else {
        vec![bytes]
    }
}
