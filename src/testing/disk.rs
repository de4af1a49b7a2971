//! A disk in memory that knows what is synced, fails and crashes on order, and counts its calls.
//!
//! After a crash a file holds what was synced, and of the rest a seeded part: cut anywhere, and within what is left each
//! sector of 512 bytes either written or zero. A failed sync leaves its bytes like that for good: a later sync that
//! succeeds does not make them durable (as Linux's page cache behaves). Of names that were not synced a seeded part is
//! kept, each on its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::SimRng;
use crate::io::{AppendFile, Disk};

mod file;
mod sites;

use file::FileState;

/// Whether a call that fails, or in which the machine dies, had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultEffect {
    /// Nothing of it happened.
    Before,
    /// All of it happened, and nobody was told.
    After,
}

/// What goes wrong at a call. Calls are numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// The call returns an error.
    Fail(FaultEffect),
    /// The machine dies: this call and all later ones return errors until [`SimDisk::restart`].
    Crash(FaultEffect),
}

impl DiskFault {
    fn effect(self) -> FaultEffect {
        match self {
            DiskFault::Fail(effect) | DiskFault::Crash(effect) => effect,
        }
    }
}

/// What a disk was asked so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SimDiskCalls {
    pub calls: u64,
    /// Distinct places in the code that called, while [`SimDisk::trace_sites`] was on.
    pub sites: BTreeSet<String>,
}

/// The machine as it would be if it had died in one call: what [`SimDisk::watch`] shows.
pub struct CrashPoint {
    pub call: u64,
    /// The same for all points between two calls that change anything: these machines differ in nothing but in the chance
    /// that decides what survives.
    pub change: u64,
    pub operation: String,
    pub effect: FaultEffect,
    /// Of its own from here on; [`SimDisk::restart`] decides what survived.
    pub disk: SimDisk,
}

type Watcher = Box<dyn FnMut(CrashPoint) + Send>;

/// Operations that change nothing: a machine that dies in one is as it was before it.
const READS: [&str; 6] = ["read", "read_at", "list", "get", "get_ranges", "list_objects"];

/// Clones share the disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    watcher: Arc<Mutex<Option<Watcher>>>,
}

#[derive(Clone)]
struct State {
    rng: Arc<SimRng>,
    files: BTreeMap<u64, FileState>,
    next_file: u64,
    /// Path to file, as the running process sees it.
    names: BTreeMap<String, u64>,
    /// The same as it would be after a crash, but for `pending`.
    durable_names: BTreeMap<String, u64>,
    /// Changes of names since their directory was synced.
    pending: Vec<NameChange>,
    faults: BTreeMap<u64, DiskFault>,
    /// By operation: for its next call.
    next_faults: BTreeMap<String, DiskFault>,
    /// By operation: what all of its calls fail with, until that is taken back.
    troubles: BTreeMap<String, io::ErrorKind>,
    crashed: bool,
    /// Handles opened before a crash are of a dead process.
    life: u64,
    /// Calls so far that may have changed something.
    changes: u64,
    calls: SimDiskCalls,
    trace_sites: bool,
    watched: bool,
}

#[derive(Clone)]
enum NameChange {
    Create { name: String, file: u64 },
    Rename { from: String, to: String },
    Remove { name: String },
}

impl NameChange {
    fn is_in(&self, directory: &str) -> bool {
        let name = match self {
            NameChange::Create { name, .. } | NameChange::Remove { name } => name,
            NameChange::Rename { to, .. } => to,
        };
        name.rsplit_once('/').map_or("", |(parent, _)| parent) == directory
    }

    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Create { name, file } => {
                names.insert(name.clone(), *file);
            }
            NameChange::Rename { from, to } => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            NameChange::Remove { name } => {
                names.remove(name);
            }
        }
    }
}

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: Arc::new(SimRng::new(seed)),
            files: BTreeMap::new(),
            next_file: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            faults: BTreeMap::new(),
            next_faults: BTreeMap::new(),
            troubles: BTreeMap::new(),
            crashed: false,
            life: 0,
            changes: 0,
            calls: SimDiskCalls::default(),
            trace_sites: false,
            watched: false,
        };
        SimDisk::of(state)
    }

    fn of(state: State) -> Self {
        SimDisk { state: Arc::new(Mutex::new(state)), watcher: Arc::default() }
    }

    /// Shows every later call's crash points to `watcher`: the machine as a crash before the call's effect leaves it, and,
    /// where the call changes anything, as one after it does. One run so gives every crash of it. The watcher must not
    /// call this disk.
    pub fn watch(&self, watcher: impl FnMut(CrashPoint) + Send + 'static) {
        *self.watcher.lock() = Some(Box::new(watcher));
        self.state.lock().watched = true;
    }

    pub fn unwatch(&self) {
        self.state.lock().watched = false;
        *self.watcher.lock() = None;
    }

    /// Puts a fault at the call that `calls().calls` will count as `call`.
    pub fn fault_at(&self, call: u64, fault: DiskFault) {
        self.state.lock().faults.insert(call, fault);
    }

    /// Puts a fault at the next call of an operation, as `SimDiskCalls::sites` names it.
    pub fn fault_next(&self, operation: &str, fault: DiskFault) {
        self.state.lock().next_faults.insert(operation.to_string(), fault);
    }

    /// From now on every call of these operations fails like this and has no effect; but a full disk takes a part of what
    /// is appended. `append`, `create` and `put` with `StorageFull` are a full disk, `sync` with `Other` a failing one.
    pub fn trouble(&self, operations: &[&str], kind: io::ErrorKind) {
        let mut state = self.state.lock();
        state.troubles.extend(operations.iter().map(|operation| (operation.to_string(), kind)));
    }

    /// The cause of all troubles is gone.
    pub fn heal(&self) {
        self.state.lock().troubles.clear();
    }

    /// Whether a fault waits for its call.
    pub fn awaits_fault(&self) -> bool {
        let state = self.state.lock();
        !(state.faults.is_empty() && state.next_faults.is_empty())
    }

    /// Takes back what has not come to pass.
    pub fn cancel_faults(&self) {
        let mut state = self.state.lock();
        state.faults.clear();
        state.next_faults.clear();
    }

    /// Pulls the plug now.
    pub fn pull_plug(&self) {
        self.state.lock().crashed = true;
    }

    pub fn is_crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// The process dies (kill -9) and the machine does not: its handles are dead, what it wrote can be read, and what it
    /// did not sync a later crash may still take.
    pub fn kill_process(&self) {
        self.state.lock().life += 1;
    }

    /// The machine comes back after a crash (or is crashed just now), with what survived.
    pub fn restart(&self) {
        self.state.lock().restart();
    }

    pub fn calls(&self) -> SimDiskCalls {
        self.state.lock().calls.clone()
    }

    /// Records from which line of code each call comes. Slow.
    pub fn trace_sites(&self, on: bool) {
        self.state.lock().trace_sites = on;
    }

    /// Every file with its bytes, as the running process sees them.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state.lock();
        let bytes = |file: &u64| state.files.get(file).map_or_else(Vec::new, |file| file.bytes.to_vec());
        state.names.iter().map(|(name, file)| (name.clone(), bytes(file))).collect()
    }

    /// Puts a file there as if it had always been there, durable: damage for a test, for example.
    pub fn plant(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        let file = state.new_file();
        state.files.insert(file, FileState::durable(bytes));
        state.names.insert(name.to_string(), file);
        state.durable_names.insert(name.to_string(), file);
    }

    /// One call: counts it, and has it fail if that was ordered.
    fn call<T>(
        &self,
        operation: &str,
        life: Option<u64>,
        effect: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut points = Vec::new();
        let result = {
            let mut state = self.state.lock();
            let fault = state.begin_call(operation, life)?;
            points.extend(state.crash_point(operation, FaultEffect::Before));
            let result = match fault {
                None => effect(&mut state),
                Some(fault) => {
                    if fault.effect() == FaultEffect::After {
                        // Its outcome is what nobody is told.
                        let _ = effect(&mut state);
                    }
                    state.crashed |= matches!(fault, DiskFault::Crash(_));
                    Err(simulated("simulated fault"))
                }
            };
            state.called(operation);
            points.extend(state.crash_point(operation, FaultEffect::After));
            result
        };
        points.into_iter().for_each(|point| self.show(point));
        result
    }

    /// A call of something else on the same machine, counted with the disk's. `Some`: the caller has it take effect or
    /// not, and fail. Either way it then says [`SimDisk::called_elsewhere`].
    pub(super) fn call_elsewhere(&self, operation: &str) -> io::Result<Option<FaultEffect>> {
        let (fault, point) = {
            let mut state = self.state.lock();
            let fault = state.begin_call(operation, None)?;
            let point = state.crash_point(operation, FaultEffect::Before);
            state.crashed |= matches!(fault, Some(DiskFault::Crash(_)));
            (fault, point)
        };
        point.into_iter().for_each(|point| self.show(point));
        Ok(fault.map(DiskFault::effect))
    }

    pub(super) fn called_elsewhere(&self, operation: &str) {
        let point = {
            let mut state = self.state.lock();
            state.called(operation);
            state.crash_point(operation, FaultEffect::After)
        };
        point.into_iter().for_each(|point| self.show(point));
    }

    fn show(&self, point: CrashPoint) {
        if let Some(watcher) = &mut *self.watcher.lock() {
            watcher(point);
        }
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        write!(f, "SimDisk({} files, {} calls)", state.names.len(), state.calls.calls)
    }
}

fn simulated(what: &str) -> io::Error {
    io::Error::other(what.to_string())
}

fn not_found(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"))
}

impl State {
    /// Errors: the machine is down, or the caller's process is dead.
    fn begin_call(&mut self, operation: &str, life: Option<u64>) -> io::Result<Option<DiskFault>> {
        if self.crashed || life.is_some_and(|life| life != self.life) {
            return Err(simulated("the machine is down"));
        }
        if self.trace_sites {
            self.calls.sites.insert(format!("{operation} at {}", sites::caller()));
        }
        let call = self.calls.calls;
        self.calls.calls += 1;
        if let Some(kind) = self.troubles.get(operation) {
            return Err(io::Error::new(*kind, "simulated trouble"));
        }
        Ok(self.faults.remove(&call).or_else(|| self.next_faults.remove(operation)))
    }

    /// A call has had its effect.
    fn called(&mut self, operation: &str) {
        self.changes += u64::from(!READS.contains(&operation));
    }

    /// The machine as it would be, had it died in the call under way.
    fn crash_point(&self, operation: &str, effect: FaultEffect) -> Option<CrashPoint> {
        if !self.watched || (effect == FaultEffect::After && READS.contains(&operation)) {
            return None;
        }
        let (call, change) = (self.calls.calls - 1, self.changes);
        // What survives is chance of this point's own, so that it does not change the run.
        let seed = call << 1 | u64::from(effect == FaultEffect::After);
        let rng = Arc::new(SimRng::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let state = State {
            rng,
            faults: BTreeMap::new(),
            next_faults: BTreeMap::new(),
            crashed: true,
            trace_sites: false,
            watched: false,
            ..self.clone()
        };
        Some(CrashPoint { call, change, operation: operation.to_string(), effect, disk: SimDisk::of(state) })
    }

    fn new_file(&mut self) -> u64 {
        self.next_file += 1;
        self.next_file
    }

    fn file(&mut self, file: u64) -> &mut FileState {
        self.files.entry(file).or_default()
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    fn sync_dir(&mut self, directory: &str) {
        let (synced, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|change| change.is_in(directory));
        synced.iter().for_each(|change| change.apply(&mut self.durable_names));
        self.pending = rest;
    }

    fn restart(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            if self.rng.one_in(2) {
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
        let kept: BTreeSet<u64> = self.names.values().copied().collect();
        self.files.retain(|file, _| kept.contains(file));
        for file in self.files.values_mut() {
            file.crash(&self.rng);
        }
        self.faults.clear();
        self.next_faults.clear();
        self.troubles.clear();
        self.crashed = false;
        self.life += 1;
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn AppendFile>> {
        self.call("create", None, |state| {
            if state.names.contains_key(name) {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name} exists")));
            }
            let file = state.new_file();
            state.files.insert(file, FileState::default());
            state.change_name(NameChange::Create { name: name.to_string(), file });
            Ok((file, state.life))
        })
        .map(|(file, life)| Box::new(SimFile { disk: self.clone(), file, life }) as Box<dyn AppendFile>)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.call("read", None, |state| {
            let file = *state.names.get(name).ok_or_else(|| not_found(name))?;
            Ok(state.file(file).bytes.to_vec())
        })
    }

    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.call("read_at", None, |state| {
            let file = *state.names.get(name).ok_or_else(|| not_found(name))?;
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let bytes = state.file(file).bytes.get(start..start.saturating_add(length));
            bytes.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        })
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        self.call("list", None, |state| {
            let below = state.names.keys().filter_map(|name| name.strip_prefix(&prefix));
            Ok(below.filter(|name| !name.contains('/')).map(str::to_string).collect())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call("rename", None, |state| {
            if !state.names.contains_key(from) {
                return Err(not_found(from));
            }
            state.change_name(NameChange::Rename { from: from.to_string(), to: to.to_string() });
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call("remove", None, |state| {
            if !state.names.contains_key(name) {
                return Err(not_found(name));
            }
            state.change_name(NameChange::Remove { name: name.to_string() });
            Ok(())
        })
    }

    fn create_dir(&self, _directory: &str) -> io::Result<()> {
        self.call("create_dir", None, |_| Ok(()))
    }

    fn sync_dir(&self, directory: &str) -> io::Result<()> {
        self.call("sync_dir", None, |state| {
            state.sync_dir(directory);
            Ok(())
        })
    }

    fn sync_file(&self, name: &str) -> io::Result<()> {
        self.call("sync_file", None, |state| {
            let file = *state.names.get(name).ok_or_else(|| not_found(name))?;
            state.file(file).sync();
            Ok(())
        })
    }
}

struct SimFile {
    disk: SimDisk,
    file: u64,
    life: u64,
}

impl AppendFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let appended = self.disk.call("append", Some(self.life), |state| {
            state.file(self.file).append(bytes);
            Ok(())
        });
        if appended.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull) {
            let mut state = self.disk.state.lock();
            let fits = state.rng.below(bytes.len() as u64 + 1) as usize;
            state.file(self.file).append(&bytes[..fits]);
            state.changes += 1;
        }
        appended
    }

    fn sync(&mut self) -> io::Result<()> {
        let synced = self.disk.call("sync", Some(self.life), |state| {
            state.file(self.file).sync();
            Ok(())
        });
        if synced.is_err() {
            let mut state = self.disk.state.lock();
            if state.life == self.life {
                state.file(self.file).doom();
                state.changes += 1;
            }
        }
        synced
    }
}

#[cfg(test)]
mod tests;
