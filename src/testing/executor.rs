//! One thread, one seed: the order in which tasks run is chance, and the same chance again for the same seed.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use xxhash_rust::xxh3::Xxh3;

use super::{SimClock, SimRng};
use crate::io::Clock;

type TaskId = u64;

/// Runs tasks one at a time. Time goes on only when no task is ready.
pub struct SimExecutor {
    queue: Arc<Queue>,
    tasks: BTreeMap<TaskId, BoxFuture<'static, ()>>,
    rng: Arc<SimRng>,
    clock: SimClock,
    trace: Xxh3,
}

/// What wakers and spawners reach.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    /// In the order of waking.
    ready: Vec<TaskId>,
    spawned: Vec<(TaskId, BoxFuture<'static, ()>)>,
    next_task: TaskId,
}

impl Queue {
    fn wake(&self, task: TaskId) {
        let mut state = self.state.lock();
        if !state.ready.contains(&task) {
            state.ready.push(task);
        }
    }
}

/// Spawns tasks from within tasks. Clones share the executor.
#[derive(Clone)]
pub struct SimSpawner(Arc<Queue>);

impl SimSpawner {
    /// The receiver gives the task's output; dropping it does not cancel the task.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.0.state.lock();
        state.next_task += 1;
        let id = state.next_task;
        let task = async move {
            // The receiver may be gone.
            let _ = sender.send(task.await);
        };
        state.spawned.push((id, Box::pin(task)));
        state.ready.push(id);
        receiver
    }
}

struct TaskWaker {
    task: TaskId,
    queue: Arc<Queue>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.queue.wake(self.task);
    }
}

impl SimExecutor {
    /// The clock starts at 2026-01-01.
    pub fn new(seed: u64) -> Self {
        SimExecutor::with_clock(seed, SimClock::new(1_767_225_600_000_000))
    }

    pub fn with_clock(seed: u64, clock: SimClock) -> Self {
        SimExecutor {
            queue: Arc::default(),
            tasks: BTreeMap::new(),
            rng: Arc::new(SimRng::new(seed)),
            clock,
            trace: Xxh3::new(),
        }
    }

    pub fn spawner(&self) -> SimSpawner {
        SimSpawner(self.queue.clone())
    }

    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> oneshot::Receiver<T> {
        self.spawner().spawn(task)
    }

    pub fn clock(&self) -> SimClock {
        self.clock.clone()
    }

    /// Chance that follows from the same seed.
    pub fn rng(&self) -> Arc<SimRng> {
        self.rng.clone()
    }

    /// Runs until `task` is done; `None` if it waits for something that will never come, or `stop` says so, which is
    /// asked after each step (a crashed disk, for example). Other tasks stay where they are.
    pub fn run<T: Send + 'static>(
        &mut self,
        task: impl Future<Output = T> + Send + 'static,
        mut stop: impl FnMut() -> bool,
    ) -> Option<T> {
        let mut done = self.spawn(task);
        loop {
            match done.try_recv() {
                Ok(output) => return Some(output),
                Err(oneshot::error::TryRecvError::Closed) => return None,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            if stop() || !(self.step() || self.clock.advance_to_next()) {
                return None;
            }
        }
    }

    /// [`SimExecutor::run`] without a stop. Panics on a deadlock: in a test that is a failure.
    pub fn block_on<T: Send + 'static>(&mut self, task: impl Future<Output = T> + Send + 'static) -> T {
        self.run(task, || false).expect("every task waits for another, and no clock is running")
    }

    /// Polls one ready task, chosen by the seed. False if none is ready.
    pub fn step(&mut self) -> bool {
        let task = {
            let mut state = self.queue.state.lock();
            self.tasks.extend(state.spawned.drain(..));
            if state.ready.is_empty() {
                return false;
            }
            let chosen = self.rng.below(state.ready.len() as u64) as usize;
            state.ready.swap_remove(chosen)
        };
        self.trace.update(&task.to_le_bytes());
        self.trace.update(&self.clock.now_us().to_le_bytes());
        if let Some(mut future) = self.tasks.remove(&task) {
            let waker = Waker::from(Arc::new(TaskWaker { task, queue: self.queue.clone() }));
            // The task is out of the map while it runs, so that it may spawn; a finished one is not put back.
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                self.tasks.insert(task, future);
            }
        }
        true
    }

    /// Digest of which task ran when, so far.
    pub fn trace_digest(&self) -> u64 {
        self.trace.digest()
    }
}

#[cfg(test)]
mod tests;
