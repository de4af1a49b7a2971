//! Pages between memory and a store, and a store in memory for tests of states.

use std::collections::{BTreeSet, HashMap};

use futures::FutureExt;

use super::*;
use crate::dataflow::state::{StateReader, StateRef, StateWriter};
use crate::error::Error;
use crate::types::RelationId;

/// Pages in memory, each a segment of its own.
#[derive(Debug, Default)]
pub struct MemoryStore {
    pages: Mutex<HashMap<u64, Vec<u8>>>,
    held: Mutex<HashMap<u64, i64>>,
    /// Everything should be written anew.
    pub sparse: AtomicBool,
    /// Takes no page.
    pub full: AtomicBool,
}

impl PageStore for MemoryStore {
    fn write(&self, bytes: &[u8]) -> Result<Place> {
        if self.full.load(Ordering::Relaxed) {
            return Err(Error::new(SqlState::DISK_FULL, "no space left"));
        }
        let mut pages = self.pages.lock();
        let place = Place { segment: pages.len() as u64, offset: 0, length: bytes.len() as u32 };
        pages.insert(place.segment, bytes.to_vec());
        *self.held.lock().entry(place.segment).or_default() += 1;
        Ok(place)
    }

    fn read(&self, place: Place) -> Result<Vec<u8>> {
        self.pages.lock().get(&place.segment).cloned().ok_or_else(|| Error::corrupted("no such page"))
    }

    fn hold(&self, place: Place) -> Result<()> {
        *self.held.lock().entry(place.segment).or_default() += 1;
        Ok(())
    }

    fn release(&self, place: Place) {
        *self.held.lock().entry(place.segment).or_default() -= 1;
    }

    fn is_sparse(&self, _: Place) -> bool {
        self.sparse.load(Ordering::Relaxed)
    }

    fn distrust(&self, _: Place) {
        self.sparse.store(true, Ordering::Relaxed);
    }
}

impl MemoryStore {
    pub fn pages_written(&self) -> usize {
        self.pages.lock().len()
    }

    pub fn pages_held(&self) -> usize {
        self.held.lock().values().filter(|held| **held > 0).count()
    }

    pub fn damage(&self, bit: usize) {
        for page in self.pages.lock().values_mut() {
            let at = bit / 8 % page.len();
            page[at] ^= 1 << (bit % 8);
        }
    }
}

/// A store, and a residence of hardly any bytes that evicts to it.
pub fn tiny_residence() -> (Arc<MemoryStore>, Arc<Residence>) {
    let store = Arc::new(MemoryStore::default());
    let residence = Residence::with_store(store.clone());
    residence.set_bytes_max(1);
    (store, residence)
}

/// Has a state write itself, and another of the same form read that.
pub fn carry_over(store: &Arc<MemoryStore>, from: StateRef<'_>, mut to: StateRef<'_>) -> Result<()> {
    let mut writer = StateWriter::new(store.clone());
    from.image().settle(&mut writer)?;
    let (bytes, _homes) = writer.finish();
    let mut reader = StateReader::new(store.clone(), &bytes);
    to.restore(&mut reader)?;
    reader.finish()
}

#[derive(Debug, Clone, PartialEq)]
struct Text(String);

impl Content for Text {
    type Layout = ();

    fn to_bytes(&self) -> Result<Vec<u8>> {
        Ok(self.0.clone().into_bytes())
    }

    fn from_bytes((): &(), bytes: &[u8]) -> Result<Self> {
        String::from_utf8(bytes.to_vec()).map(Text).map_err(|_| damaged())
    }

    fn memory_bytes(&self) -> usize {
        self.0.len()
    }

    fn rows(&self) -> usize {
        self.0.lines().count()
    }
}

#[test]
fn a_page_is_written_once_for_each_change() {
    let (store, residence) = tiny_residence();
    let account = Arc::new(Account::default());
    account.attach(&residence, RelationId(1));
    let as_store: Arc<dyn PageStore> = store.clone();
    let mut page = Page::new(Text("one".to_owned()), &account);
    page.settle(&(), &as_store).unwrap();
    Page::leave_if_full(&mut page, &());
    assert_eq!((page.resident_bytes(), page.rows(), residence.bytes()), (None, 1, 0));
    page.settle(&(), &as_store).unwrap();
    assert_eq!(store.pages_written(), 1);
    Page::open(&mut page, &()).unwrap().0.push_str("\ntwo");
    assert_eq!((page.resident_bytes(), page.rows(), residence.bytes()), (Some(7), 2, 7));
    assert_eq!(store.pages_held(), 0);
    Page::leave_if_full(&mut page, &());
    assert_eq!(page.peek(&()).unwrap().0, "one\ntwo");
    assert_eq!((store.pages_written(), store.pages_held(), residence.bytes()), (2, 1, 0));
    drop(page);
    assert_eq!(store.pages_held(), 0);
}

#[test]
fn a_page_that_the_disk_does_not_take_stays() {
    let (store, residence) = tiny_residence();
    let account = Arc::new(Account::default());
    account.attach(&residence, RelationId(1));
    let mut page = Page::new(Text("one".to_owned()), &account);
    store.full.store(true, Ordering::Relaxed);
    Page::leave_if_full(&mut page, &());
    assert_eq!((page.resident_bytes(), residence.bytes(), store.pages_written()), (Some(3), 3, 0));
    Page::open(&mut page, &()).unwrap().0.push_str("\ntwo");
    store.full.store(false, Ordering::Relaxed);
    Page::leave_if_full(&mut page, &());
    assert_eq!((page.resident_bytes(), residence.bytes(), store.pages_written()), (None, 0, 1));
    assert_eq!(page.get(&()).unwrap().0, "one\ntwo");
}

#[test]
fn a_clone_keeps_a_page_that_is_changed_or_leaves() {
    let (store, residence) = tiny_residence();
    let account = Arc::new(Account::default());
    account.attach(&residence, RelationId(1));
    let mut page = Page::new(Text("old".to_owned()), &account);
    let held = page.clone();
    Page::open(&mut page, &()).unwrap().0.push_str("er");
    Page::leave_if_full(&mut page, &());
    assert_eq!(held.get(&()).unwrap().0, "old");
    assert_eq!(page.get(&()).unwrap().0, "older");
    assert_eq!((residence.bytes(), store.pages_written()), (8, 1));
    drop(held);
    assert_eq!(residence.bytes(), 5);
}

#[test]
fn a_page_in_a_sparse_segment_moves() {
    let (store, _residence) = tiny_residence();
    let as_store: Arc<dyn PageStore> = store.clone();
    let page = Page::new(Text("text".to_owned()), &Arc::default());
    let first = page.settle(&(), &as_store).unwrap().place();
    store.sparse.store(true, Ordering::Relaxed);
    let second = page.settle(&(), &as_store).unwrap().place();
    assert_ne!(first, second);
    assert_eq!(store.pages_held(), 1);
}

#[test]
fn damage_is_told_with_the_view_whose_page_it_is() {
    let (store, residence) = tiny_residence();
    let account = Arc::new(Account::default());
    account.attach(&residence, RelationId(7));
    let mut page = Page::new(Text("\u{7f}\u{7f}".to_owned()), &account);
    Page::leave_if_full(&mut page, &());
    assert!(residence.damaged().now_or_never().is_none());
    // No longer UTF-8.
    store.damage(7);
    assert_eq!(page.peek(&()).unwrap_err().state(), SqlState::DATA_CORRUPTED);
    assert_eq!(residence.damaged().now_or_never(), Some(BTreeSet::from([RelationId(7)])));
    assert!(residence.damaged().now_or_never().is_none(), "each damage once");
    assert!(store.sparse.load(Ordering::Relaxed), "the segment is not trusted any more");
}

#[test]
fn a_page_that_does_not_read_back_is_written_again_while_it_is_in_memory() {
    let store = Arc::new(MemoryStore::default());
    let as_store: Arc<dyn PageStore> = store.clone();
    let updates = |key: &[u8]| {
        let mut updates = crate::dataflow::state::OrderedUpdates::default();
        updates.push(&[key], 1);
        updates
    };
    let mut state = crate::dataflow::state::OrderedState::default();
    state.apply(&updates(b"key")).unwrap();
    let settle = |state: &crate::dataflow::state::OrderedState| {
        let mut writer = StateWriter::new(as_store.clone());
        state.clone().settle(&mut writer).unwrap();
        writer.finish().1
    };
    let homes = settle(&state);
    store.damage(100);
    assert_eq!(homes[0].read_back().unwrap_err().state(), SqlState::DATA_CORRUPTED);
    let again = settle(&state);
    assert_ne!(homes[0].place(), again[0].place());
    store.sparse.store(false, Ordering::Relaxed);
    again[0].read_back().unwrap();
    // What was whole once is not read for each checkpoint.
    store.damage(100);
    again[0].read_back().unwrap();
}
