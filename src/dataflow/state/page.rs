//! One page of state: in memory, at rest in a [`PageStore`], or both.
//!
//! ```text
//! new --> in memory --write--> both --evict--> at rest --touch--> both --change--> in memory
//! ```
//!
//! States hold their pages by `Arc`: a clone of a state shares them, and a page is copied only if it is changed while a
//! clone holds it; the one that the clone keeps has then left the state. A page is written at most once for each change,
//! whoever asks first: eviction or a checkpoint. Which state a page's bytes are counted to stands in its [`Account`], and
//! those of all states together in [`Residence`].
//!
//! Does not know: files, what the content means.
//!
//! Invariants:
//!   * a page that is not in memory has a home
//!   * a page's home holds exactly its content: a change takes the home away
//!   * what is counted to an account is what its pages hold in memory, those of clones included

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::bytes::{damaged, open_envelope};
use super::residence::{Account, Residence};
use crate::error::{Result, SqlState};

/// Where a page's bytes stand in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub segment: u64,
    pub offset: u64,
    pub length: u32,
}

/// Where pages rest.
pub trait PageStore: Send + Sync + fmt::Debug {
    /// Appends a page. It can be read at once; whether it is durable is the store's affair. Errors: 53100, 58030.
    fn write(&self, bytes: &[u8]) -> Result<Place>;
    fn read(&self, place: Place) -> Result<Vec<u8>>;
    /// A page that was written before is held. Errors: XX001 where it cannot be there.
    fn hold(&self, place: Place) -> Result<()>;
    /// Nobody holds the page any more.
    fn release(&self, place: Place);
    /// The page should be written anew, because little else in its segment is still held, or the segment is not to be
    /// trusted.
    fn is_sparse(&self, place: Place) -> bool;
    /// What was written there does not read back: its segment is not to be trusted any more.
    fn distrust(&self, place: Place);
}

/// A page at rest that somebody holds; dropping the last one gives its place back.
#[derive(Debug)]
pub struct Home {
    store: Arc<dyn PageStore>,
    place: Place,
    /// It was read since it was written, and was whole.
    read_back: AtomicBool,
}

impl Home {
    /// Of a page that was just written.
    fn new(store: Arc<dyn PageStore>, place: Place) -> Arc<Home> {
        Arc::new(Home { store, place, read_back: AtomicBool::new(false) })
    }

    /// Of a page that a checkpoint which counted names: it was read back before.
    pub fn found(store: &Arc<dyn PageStore>, place: Place) -> Result<Arc<Home>> {
        store.hold(place)?;
        Ok(Arc::new(Home { store: store.clone(), place, read_back: AtomicBool::new(true) }))
    }

    /// Reads the page once after it was written. Errors: XX001 where it does not read back; it is then written elsewhere
    /// as soon as it is written again.
    pub fn read_back(&self) -> Result<()> {
        if self.read_back.load(Ordering::Relaxed) {
            return Ok(());
        }
        let read = self.store.read(self.place).and_then(|bytes| open_envelope(&bytes).map(drop));
        match read {
            Ok(()) => self.read_back.store(true, Ordering::Relaxed),
            Err(_) => self.store.distrust(self.place),
        }
        read
    }

    pub fn place(&self) -> Place {
        self.place
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.store.release(self.place);
    }
}

/// What a page holds.
pub trait Content: Clone {
    /// What reading needs to know besides the bytes.
    type Layout;

    fn to_bytes(&self) -> Result<Vec<u8>>;
    /// Errors: XX001.
    fn from_bytes(layout: &Self::Layout, bytes: &[u8]) -> Result<Self>;
    fn memory_bytes(&self) -> usize;
    fn rows(&self) -> usize;
}

/// A page that has left its state.
#[derive(Debug, Clone, Copy)]
pub struct LeftPage {
    /// The same in all clones that hold the page.
    pub id: usize,
    /// In memory or at rest.
    pub bytes: usize,
}

#[derive(Debug)]
pub struct Page<T> {
    content: OnceLock<Arc<T>>,
    /// Of the content, in memory or not.
    rows: AtomicUsize,
    home: Mutex<Option<Arc<Home>>>,
    account: Arc<Account>,
    /// Counted to the account.
    counted: AtomicUsize,
    /// Touched since the last look at what could leave.
    used: AtomicBool,
    /// The state has another page in its place, or none: clones alone hold it.
    left: AtomicBool,
}

impl<T: Content> Page<T> {
    pub fn new(content: T, account: &Arc<Account>) -> Arc<Self> {
        let bytes = content.memory_bytes();
        account.recount(0, bytes);
        Arc::new(Page {
            rows: AtomicUsize::new(content.rows()),
            content: OnceLock::from(Arc::new(content)),
            home: Mutex::default(),
            account: account.clone(),
            counted: AtomicUsize::new(bytes),
            used: AtomicBool::new(true),
            left: AtomicBool::new(false),
        })
    }

    /// A page that is read when it is touched.
    pub fn at_rest(home: Arc<Home>, rows: usize, account: &Arc<Account>) -> Arc<Self> {
        Arc::new(Page {
            content: OnceLock::new(),
            rows: AtomicUsize::new(rows),
            home: Mutex::new(Some(home)),
            account: account.clone(),
            counted: AtomicUsize::new(0),
            used: AtomicBool::new(false),
            left: AtomicBool::new(false),
        })
    }

    /// The content, kept in memory from now on.
    pub fn get(&self, layout: &T::Layout) -> Result<&Arc<T>> {
        self.used.store(true, Ordering::Relaxed);
        if let Some(content) = self.content.get() {
            return Ok(content);
        }
        let content = self.read_home(layout)?;
        let bytes = content.memory_bytes();
        if self.content.set(Arc::new(content)).is_ok() {
            self.counted.store(bytes, Ordering::Relaxed);
            self.account.recount(0, bytes);
        }
        self.content.get().ok_or_else(damaged)
    }

    /// The content, read without keeping it in memory if it was not there.
    pub fn peek(&self, layout: &T::Layout) -> Result<Arc<T>> {
        match self.content.get() {
            Some(content) => Ok(content.clone()),
            None => self.read_home(layout).map(Arc::new),
        }
    }

    /// The content if it is in memory.
    pub fn resident(&self) -> Option<&T> {
        self.content.get().map(|content| &**content)
    }

    pub fn rows(&self) -> usize {
        self.rows.load(Ordering::Relaxed)
    }

    /// In memory or at rest.
    pub fn bytes(&self) -> usize {
        let at_rest = || self.home.lock().as_ref().map_or(0, |home| home.place.length as usize);
        self.resident_bytes().unwrap_or_else(at_rest)
    }

    /// Bytes in memory; `None` for a page at rest.
    pub fn resident_bytes(&self) -> Option<usize> {
        self.content.get().map(|_| self.counted.load(Ordering::Relaxed))
    }

    /// The state does not hold it any more.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// In a clone: those of its pages that clones alone keep.
    pub fn left<'a>(pages: impl Iterator<Item = &'a Arc<Self>>) -> Vec<LeftPage>
    where
        T: 'a,
    {
        let left = pages.filter(|page| page.left.load(Ordering::Relaxed));
        left.map(|page| LeftPage { id: page.id(), bytes: page.bytes() }).collect()
    }

    /// The same for all that stand for one content: where it rests is shared by those that were evicted.
    fn id(&self) -> usize {
        self.home.lock().as_ref().map_or(ptr::from_ref(self).addr(), |home| Arc::as_ptr(home).addr())
    }

    /// In a clone: lets the pages go that have left the state.
    pub fn evict_left<'a>(
        pages: impl Iterator<Item = &'a mut Arc<Self>>,
        layout: &T::Layout,
        store: &Arc<dyn PageStore>,
    ) -> Result<()>
    where
        T: 'a,
    {
        let mut left = pages.filter(|page| page.left.load(Ordering::Relaxed));
        left.try_for_each(|page| Page::evict(page, layout, store))
    }

    /// Lets the page go if memory is full. Where the disk does not take it, it stays: that costs memory, and not the view.
    pub fn leave_if_full(this: &mut Arc<Self>, layout: &T::Layout) {
        if let Some(store) = this.account.full_store().cloned()
            && let Err(error) = Page::evict(this, layout, &store)
        {
            tracing::debug!(%error, "a page of state stays in memory");
        }
    }

    /// Lets pages go that were not touched since the hand last passed them, from `hand` on around, until there is room.
    /// (The clock algorithm: Corbato, A Paging Experiment with the Multics System, 1968.)
    pub fn sweep<'a>(
        pages: impl Iterator<Item = &'a mut Arc<Self>>,
        hand: &mut usize,
        layout: &T::Layout,
        residence: &Residence,
    ) -> Result<()>
    where
        T: 'a,
    {
        let Some(store) = residence.store() else { return Ok(()) };
        let mut pages: Vec<&mut Arc<Self>> = pages.collect();
        let count = pages.len();
        for _ in 0..count {
            if !residence.wants_room() {
                break;
            }
            *hand = (*hand + 1) % count;
            let page = &mut pages[*hand];
            if !page.used.swap(false, Ordering::Relaxed) {
                Page::evict(page, layout, store)?;
            }
        }
        Ok(())
    }

    fn read_home(&self, layout: &T::Layout) -> Result<T> {
        let home = self.home.lock().clone().ok_or_else(damaged)?;
        let (content, bytes) = self.read_at(&home, layout)?;
        if let Some(residence) = self.account.residence() {
            residence.reloaded_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        }
        Ok(content)
    }

    /// The content with its bytes. Damage is told to whoever makes the state again.
    fn read_at(&self, home: &Home, layout: &T::Layout) -> Result<(T, Vec<u8>)> {
        let read = home.store.read(home.place).and_then(|bytes| Ok((T::from_bytes(layout, &bytes)?, bytes)));
        if read.as_ref().is_err_and(|error| error.state() == SqlState::DATA_CORRUPTED) {
            home.store.distrust(home.place);
            self.account.tell_damage();
        }
        read
    }

    /// To be changed: brought into memory, and copied if a clone holds it.
    pub fn open<'a>(this: &'a mut Arc<Self>, layout: &T::Layout) -> Result<PageMut<'a, T>> {
        let content = this.get(layout)?;
        if Arc::strong_count(this) > 1 {
            let copy = Page::new(T::clone(content), &this.account);
            this.leave();
            *this = copy;
        }
        let Page { content, rows, home, account, counted, .. } = Arc::get_mut(this).ok_or_else(damaged)?;
        *home.get_mut() = None;
        let content = Arc::make_mut(content.get_mut().ok_or_else(damaged)?);
        Ok(PageMut { content, rows, counted, account })
    }

    /// Where the page is at rest; written if it is not, or if it should move.
    pub fn settle(&self, layout: &T::Layout, store: &Arc<dyn PageStore>) -> Result<Arc<Home>> {
        let mut home = self.home.lock();
        if let Some(home) = home.as_ref().filter(|home| !home.store.is_sparse(home.place)) {
            return Ok(home.clone());
        }
        let bytes = match (self.content.get(), home.as_ref()) {
            (Some(content), _) => content.to_bytes()?,
            // What is moved must be what was written.
            (None, Some(home)) => self.read_at(home, layout)?.1,
            (None, None) => return Err(damaged()),
        };
        let written = Home::new(store.clone(), store.write(&bytes)?);
        *home = Some(written.clone());
        Ok(written)
    }

    /// Lets the page go, if it is in memory.
    fn evict(this: &mut Arc<Self>, layout: &T::Layout, store: &Arc<dyn PageStore>) -> Result<()> {
        if this.content.get().is_none() {
            return Ok(());
        }
        let home = this.settle(layout, store)?;
        if let Some(residence) = this.account.residence() {
            residence.evicted_bytes.fetch_add(this.counted.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let at_rest = Page::at_rest(home, this.rows(), &this.account);
        // In a clone the page stays one that has left the state.
        at_rest.left.store(this.left.swap(true, Ordering::Relaxed), Ordering::Relaxed);
        *this = at_rest;
        Ok(())
    }
}

impl<T> Drop for Page<T> {
    fn drop(&mut self) {
        self.account.recount(self.counted.load(Ordering::Relaxed), 0);
    }
}

/// A page's content while it is changed; counted anew at the end.
#[derive(Debug)]
pub struct PageMut<'a, T: Content> {
    content: &'a mut T,
    rows: &'a AtomicUsize,
    counted: &'a AtomicUsize,
    account: &'a Account,
}

impl<T: Content> Deref for PageMut<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.content
    }
}

impl<T: Content> DerefMut for PageMut<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.content
    }
}

impl<T: Content> Drop for PageMut<'_, T> {
    fn drop(&mut self) {
        self.rows.store(self.content.rows(), Ordering::Relaxed);
        let after = self.content.memory_bytes();
        let before = self.counted.swap(after, Ordering::Relaxed);
        self.account.recount(before, after);
    }
}

#[cfg(test)]
pub(super) mod tests;
