//! The queries that run, and the memory that each of them holds of the pool that all share.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, TaskContext};
use parking_lot::Mutex;

use crate::error::{Error, SqlState};

/// Characters of a statement that it is told by.
const TEXT_CHARS_MAX: usize = 80;

/// One query's share of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryMemory {
    /// The beginning of its text, on one line.
    pub text: String,
    pub bytes: usize,
}

/// All queries of one engine.
#[derive(Debug)]
pub struct RunningQueries {
    environment: Arc<RuntimeEnv>,
    /// Oldest first. A query is gone when its last operator is.
    pools: Mutex<Vec<Weak<QueryPool>>>,
}

impl RunningQueries {
    pub fn new(environment: Arc<RuntimeEnv>) -> Arc<RunningQueries> {
        Arc::new(RunningQueries { environment, pools: Mutex::default() })
    }

    /// Of all queries.
    pub fn bytes(&self) -> usize {
        self.environment.memory_pool.reserved()
    }

    /// What a plan runs in; its operators' memory is counted to it for as long as any of them is there.
    pub fn start(&self, state: &SessionState, text: &str) -> (Arc<TaskContext>, Wanted) {
        let shared = self.environment.memory_pool.clone();
        let (bytes, is_wanted) = (AtomicUsize::new(0), AtomicBool::new(true));
        let pool = Arc::new(QueryPool { shared, bytes, is_wanted, text: shown(text) });
        let wanted = Wanted(pool.clone());
        let mut pools = self.pools.lock();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&pool));
        let environment = RuntimeEnv { memory_pool: pool, ..RuntimeEnv::clone(&self.environment) };
        (Arc::new(TaskContext::from(state).with_runtime(Arc::new(environment))), wanted)
    }

    /// Oldest first.
    pub fn memory(&self) -> Vec<QueryMemory> {
        let pools: Vec<Arc<QueryPool>> = self.pools.lock().iter().filter_map(Weak::upgrade).collect();
        let memory = |pool: &Arc<QueryPool>| QueryMemory { text: pool.text.clone(), bytes: pool.reserved() };
        pools.iter().map(memory).collect()
    }
}

fn shown(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TEXT_CHARS_MAX).collect()
}

/// The shared pool, with a count of what one query takes from it.
#[derive(Debug)]
struct QueryPool {
    shared: Arc<dyn MemoryPool>,
    bytes: AtomicUsize,
    is_wanted: AtomicBool,
    text: String,
}

/// Somebody waits for a query's rows. Once it is dropped, the query gets no more memory, and so ends in the middle of what an operator
/// computes at once.
#[derive(Debug)]
pub struct Wanted(Arc<QueryPool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.is_wanted.store(false, Ordering::Relaxed);
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        self.shared.name()
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.shared.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.shared.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.shared.grow(reservation, additional);
        self.bytes.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.shared.shrink(reservation, shrink);
        self.bytes.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DataFusionResult<()> {
        if !self.is_wanted.load(Ordering::Relaxed) {
            let error = Error::new(SqlState::QUERY_CANCELED, "nobody waits for the query any more");
            return Err(DataFusionError::External(Box::new(error)));
        }
        self.shared.try_grow(reservation, additional)?;
        self.bytes.fetch_add(additional, Ordering::Relaxed);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.shared.memory_limit()
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;

    #[test]
    fn each_query_is_told_with_what_it_holds_and_gone_with_its_last_operator() {
        let pool = Arc::new(GreedyMemoryPool::new(100));
        let environment = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
        let running = RunningQueries::new(environment);
        let state = crate::functions::session_state(Default::default(), Default::default()).build();
        let ((one, wanted), (other, _still)) =
            (running.start(&state, "SELECT\n  1"), running.start(&state, "SELECT 2"));
        let reserve = |task: &TaskContext| MemoryConsumer::new("test").register(task.memory_pool());
        let (held, more) = (reserve(&one), reserve(&other));
        held.try_grow(60).unwrap();
        more.try_grow(30).unwrap();
        assert!(more.try_grow(20).is_err(), "the limit is of both together");
        let memory = |text: &str, bytes| QueryMemory { text: text.to_owned(), bytes };
        assert_eq!(running.memory(), [memory("SELECT 1", 60), memory("SELECT 2", 30)]);
        assert_eq!(running.bytes(), 90);
        drop(one);
        held.try_grow(1).unwrap();
        held.shrink(1);
        drop(wanted);
        let refused = Error::from(held.try_grow(1).unwrap_err());
        assert_eq!(refused.state(), SqlState::QUERY_CANCELED, "nobody waits for it: {refused}");
        assert_eq!(running.memory().len(), 2, "an operator still holds memory");
        drop(held);
        assert_eq!(running.memory(), [memory("SELECT 2", 30)]);
        assert_eq!(running.bytes(), 30);
    }
}
