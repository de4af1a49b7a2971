//! State at rest: which pages a state is made of, and where each is. What a checkpoint keeps of it.

use std::sync::Arc;

use super::bytes::{Reader, damaged};
use super::keyed::KeyedState;
use super::log::LogState;
use super::ordered::OrderedState;
use super::page::{Content, Home, Page, PageStore, Place};
use super::residence::{Account, Residence};
use crate::error::{Error, Result};
use crate::types::RelationId;

/// One state of an operator, as those see it that walk over all states of a view.
#[derive(Debug)]
pub enum StateRef<'a> {
    Keyed(&'a mut KeyedState),
    Ordered(&'a mut OrderedState),
    Log(&'a mut LogState),
    /// A count beside a state.
    Count(&'a mut i64),
}

/// A state at one moment, sharing its pages.
#[derive(Debug)]
pub enum StateImage {
    Keyed(KeyedState),
    Ordered(OrderedState),
    Log(LogState),
    Count(i64),
}

const KEYED: u64 = 1;
const ORDERED: u64 = 2;
const LOG: u64 = 3;
const COUNT: u64 = 4;

impl StateRef<'_> {
    pub fn image(&self) -> StateImage {
        match self {
            StateRef::Keyed(state) => StateImage::Keyed(KeyedState::clone(state)),
            StateRef::Ordered(state) => StateImage::Ordered(OrderedState::clone(state)),
            StateRef::Log(state) => StateImage::Log(LogState::clone(state)),
            StateRef::Count(count) => StateImage::Count(**count),
        }
    }

    /// Counts to `residence` from now on, as state of `view`.
    pub fn attach(&self, residence: &Arc<Residence>, view: RelationId) {
        match self {
            StateRef::Keyed(state) => state.account().attach(residence, view),
            StateRef::Ordered(state) => state.account().attach(residence, view),
            StateRef::Log(state) => state.account().attach(residence, view),
            StateRef::Count(_) => {}
        }
    }

    /// Lets pages go that have not been touched for long, until there is room. Errors: the store's.
    pub fn make_room(&mut self, residence: &Residence) -> Result<()> {
        match self {
            StateRef::Keyed(state) => state.make_room(residence),
            StateRef::Ordered(state) => state.make_room(residence),
            StateRef::Log(state) => state.make_room(residence),
            StateRef::Count(_) => Ok(()),
        }
    }

    /// Readers alone hold what there is of it.
    pub fn leave(&self) {
        match self {
            StateRef::Keyed(state) => state.leave(),
            StateRef::Log(state) => state.leave(),
            StateRef::Ordered(_) | StateRef::Count(_) => {}
        }
    }

    /// Takes over what [`StateImage::settle`] wrote; pages are read when they are touched. Errors: XX001.
    pub fn restore(&mut self, reader: &mut StateReader<'_>) -> Result<()> {
        match (reader.number()?, self) {
            (KEYED, StateRef::Keyed(state)) => state.restore(reader),
            (ORDERED, StateRef::Ordered(state)) => state.restore(reader),
            (LOG, StateRef::Log(state)) => state.restore(reader),
            (COUNT, StateRef::Count(count)) => {
                **count = reader.number()? as i64;
                Ok(())
            }
            _ => Err(Error::corrupted("the checkpoint holds a state of another kind than its operator has")),
        }
    }
}

impl StateImage {
    /// Writes the pages that are not at rest, and where each page is. Errors: the store's.
    pub fn settle(self, writer: &mut StateWriter) -> Result<()> {
        match self {
            StateImage::Keyed(state) => {
                writer.number(KEYED);
                state.settle(writer)
            }
            StateImage::Ordered(state) => {
                writer.number(ORDERED);
                state.settle(writer)
            }
            StateImage::Log(state) => {
                writer.number(LOG);
                state.settle(writer)
            }
            StateImage::Count(count) => {
                writer.number(COUNT);
                writer.number(count as u64);
                Ok(())
            }
        }
    }
}

/// Writes states: their pages to a store, and where each page is.
#[derive(Debug)]
pub struct StateWriter {
    store: Arc<dyn PageStore>,
    bytes: Vec<u8>,
    /// Of all pages, so that they stay.
    homes: Vec<Arc<Home>>,
}

impl StateWriter {
    pub fn new(store: Arc<dyn PageStore>) -> Self {
        StateWriter { store, bytes: Vec::new(), homes: Vec::new() }
    }

    /// What [`StateReader`] reads, and what holds its pages.
    pub fn finish(self) -> (Vec<u8>, Vec<Arc<Home>>) {
        (self.bytes, self.homes)
    }

    pub(super) fn number(&mut self, number: u64) {
        self.bytes.extend(number.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// The page's place and rows; it is written first if it is not at rest.
    pub(super) fn page<T: Content>(&mut self, page: &Page<T>, layout: &T::Layout) -> Result<()> {
        let home = page.settle(layout, &self.store)?;
        let Place { segment, offset, length } = home.place();
        [segment, offset, length.into(), page.rows() as u64].into_iter().for_each(|number| self.number(number));
        self.homes.push(home);
        Ok(())
    }
}

/// Reads what a [`StateWriter`] wrote.
#[derive(Debug)]
pub struct StateReader<'a> {
    store: Arc<dyn PageStore>,
    reader: Reader<'a>,
}

impl<'a> StateReader<'a> {
    pub fn new(store: Arc<dyn PageStore>, bytes: &'a [u8]) -> Self {
        StateReader { store, reader: Reader::within(bytes) }
    }

    /// Errors: XX001 where bytes are left.
    pub fn finish(self) -> Result<()> {
        self.reader.finish()
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        self.reader.number()
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8]> {
        self.reader.bytes()
    }

    pub(super) fn page<T: Content>(&mut self, account: &Arc<Account>) -> Result<Arc<Page<T>>> {
        let (place, rows) = place(&mut self.reader)?;
        Ok(Page::at_rest(Home::found(&self.store, place)?, rows, account))
    }
}

fn place(reader: &mut Reader<'_>) -> Result<(Place, usize)> {
    let (segment, offset) = (reader.number()?, reader.number()?);
    let length = u32::try_from(reader.number()?).map_err(|_| damaged())?;
    let rows = usize::try_from(reader.number()?).map_err(|_| damaged())?;
    Ok((Place { segment, offset, length }, rows))
}

/// The pages of all states that a [`StateWriter`] wrote. Errors: XX001.
pub fn places(bytes: &[u8]) -> Result<Vec<Place>> {
    let mut reader = Reader::within(bytes);
    let mut places = Vec::new();
    while !reader.is_empty() {
        match reader.number()? {
            KEYED => {
                let count = u32::try_from(reader.number()?).ok().and_then(|bits| 1_u64.checked_shl(bits));
                for _ in 0..count.ok_or_else(damaged)? {
                    places.push(place(&mut reader)?.0);
                }
            }
            ORDERED => {
                for _ in 0..reader.number()? {
                    reader.bytes()?;
                    places.push(place(&mut reader)?.0);
                }
            }
            LOG => {
                reader.number()?;
                for _ in 0..reader.number()? {
                    places.push(place(&mut reader)?.0);
                }
            }
            COUNT => drop(reader.number()?),
            _ => return Err(damaged()),
        }
    }
    Ok(places)
}
