//! A clock that stands still until the executor has nothing else to do.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures::future::{BoxFuture, poll_fn};
use parking_lot::Mutex;

use crate::io::Clock;

/// Virtual time. Clones share it.
#[derive(Clone)]
pub struct SimClock {
    time: Arc<Mutex<Time>>,
}

struct Time {
    monotonic: Duration,
    /// Wall time at monotonic zero; jumps of the wall clock move it.
    wall_origin_us: i64,
    /// (deadline, order of asking) of each sleeper.
    sleepers: BinaryHeap<Reverse<(Duration, u64)>>,
    wakers: Vec<(u64, Waker)>,
    next_sleeper: u64,
}

impl SimClock {
    /// Starts at `wall_us` microseconds since 1970.
    pub fn new(wall_us: i64) -> Self {
        let time = Time {
            monotonic: Duration::ZERO,
            wall_origin_us: wall_us,
            sleepers: BinaryHeap::new(),
            wakers: Vec::new(),
            next_sleeper: 0,
        };
        SimClock { time: Arc::new(Mutex::new(time)) }
    }

    /// Lets time go by, waking whom it is up to.
    pub fn advance(&self, duration: Duration) {
        let woken = {
            let mut time = self.time.lock();
            time.monotonic += duration;
            time.take_due()
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// The wall clock is set, forward or back; monotonic time does not notice.
    pub fn jump_wall_us(&self, microseconds: i64) {
        self.time.lock().wall_origin_us += microseconds;
    }

    /// Goes on to the next deadline. False if nobody sleeps.
    pub fn advance_to_next(&self) -> bool {
        let wait = {
            let time = self.time.lock();
            let Some(Reverse((deadline, _))) = time.sleepers.peek() else { return false };
            deadline.saturating_sub(time.monotonic)
        };
        self.advance(wait);
        true
    }
}

impl Time {
    fn take_due(&mut self) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(Reverse((deadline, sleeper))) = self.sleepers.peek().copied() {
            if deadline > self.monotonic {
                break;
            }
            self.sleepers.pop();
            if let Some(position) = self.wakers.iter().position(|(id, _)| *id == sleeper) {
                due.push(self.wakers.remove(position).1);
            }
        }
        due
    }
}

impl Clock for SimClock {
    fn now_us(&self) -> i64 {
        let time = self.time.lock();
        time.wall_origin_us + time.monotonic.as_micros() as i64
    }

    fn monotonic(&self) -> Duration {
        self.time.lock().monotonic
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        let deadline = self.monotonic().saturating_add(duration);
        let mut sleeper = None;
        Box::pin(poll_fn(move |context| {
            let mut time = clock.time.lock();
            if time.monotonic >= deadline {
                return Poll::Ready(());
            }
            let id = *sleeper.get_or_insert_with(|| {
                time.next_sleeper += 1;
                let id = time.next_sleeper;
                time.sleepers.push(Reverse((deadline, id)));
                id
            });
            time.wakers.retain(|(other, _)| *other != id);
            time.wakers.push((id, context.waker().clone()));
            Poll::Pending
        }))
    }
}
