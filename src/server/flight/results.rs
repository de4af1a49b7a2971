//! Results that were promised: what FlightInfo tells of them, and their tickets.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::watch;

use super::store::{Id, Store};
use crate::error::{Error, Result, SqlState};
use crate::session::HeldQuery;

/// Ids are followed by a part's number in tickets.
const ID_BYTES: usize = size_of::<Id>();

/// A result and which of its parts nobody has read to their end.
pub(super) struct Promised {
    pub query: HeldQuery,
    pub cancelled: watch::Sender<bool>,
    unread: Mutex<BTreeSet<usize>>,
}

/// A part of a result, as a ticket names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub id: Id,
    pub number: usize,
}

impl Promised {
    pub fn new(query: HeldQuery) -> Promised {
        let unread = Mutex::new((0..query.parts()).collect());
        Promised { query, cancelled: watch::Sender::new(false), unread }
    }

    /// Notes that a part was read. True: no other one is left to be read.
    pub fn was_read(&self, part: usize) -> bool {
        let mut unread = self.unread.lock();
        unread.remove(&part);
        unread.is_empty()
    }
}

impl Part {
    fn handle(self) -> Vec<u8> {
        let number = (self.number as u32).to_be_bytes();
        [self.id.as_slice(), number.as_slice()].concat()
    }

    /// Of TicketStatementQuery's handle.
    pub fn parse(handle: &[u8]) -> Option<Part> {
        let (id, number) = handle.split_at_checked(ID_BYTES)?;
        let number = u32::from_be_bytes(number.try_into().ok()?);
        Some(Part { id: id.try_into().ok()?, number: usize::try_from(number).ok()? })
    }
}

/// What the client is told of a result that was put under `id`.
pub(super) fn flight_info(id: Id, promised: &Promised, descriptor: FlightDescriptor) -> Result<FlightInfo> {
    let parts = promised.query.parts();
    let mut info = FlightInfo::new()
        .try_with_schema(&promised.query.schema())?
        .with_descriptor(descriptor)
        .with_app_metadata(id.to_vec())
        .with_ordered(parts == 1);
    for number in 0..parts {
        let ticket = TicketStatementQuery { statement_handle: Part { id, number }.handle().into() };
        let ticket = Ticket::new(ticket.as_any().encode_to_vec());
        info = info.with_endpoint(FlightEndpoint::new().with_ticket(ticket));
    }
    Ok(info)
}

/// The result that a FlightInfo told of.
pub(super) fn id_of(info: &FlightInfo) -> Option<Id> {
    info.app_metadata.as_ref().try_into().ok()
}

/// The result of a ticket.
///
/// Errors: 34000 where it is not kept any more, or has no such part.
pub(super) fn redeem(results: &Store<Promised>, handle: &[u8], age_ms: u64) -> Result<(Part, Arc<Promised>)> {
    let part = Part::parse(handle).ok_or_else(|| Error::new(SqlState::INVALID_CURSOR_NAME, "malformed ticket"))?;
    match results.get(&part.id) {
        Some(promised) if part.number < promised.query.parts() => Ok((part, promised)),
        _ => Err(Error::new(SqlState::INVALID_CURSOR_NAME, "the result is gone")
            .with_detail(format!(
                "A result is kept until all of it was read, it was cancelled, or nobody read it for {age_ms} ms \
                 (flight.result_age_ms); where too many wait (flight.results_max), the oldest goes."
            ))
            .with_hint("Run the query again.")),
    }
}
