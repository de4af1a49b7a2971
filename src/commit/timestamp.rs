//! The timestamps of commits: wall time that never stands still or goes back, and does not believe every jump.
//!
//! A forward jump of the wall clock against the monotonic one would move `now()` in views and retention ahead, and
//! nothing could take that back. It is adopted only after it has lasted; meanwhile time goes on at the monotonic pace.
//! A start has nothing to compare with but the last commit, which may be as old as the server was away: more than a year is
//! taken for a wrong clock, and held back in the same way.

use std::time::Duration;

use crate::io::Clock;

/// A jump of more than this is held back ...
const JUMP_MAX: Duration = Duration::from_secs(600);
/// ... until it has lasted this long.
pub const JUMP_CONFIRMED_AFTER: Duration = Duration::from_secs(600);
/// A start is not later than this after the last commit, as far as is believed at once.
pub const AWAY_MAX: Duration = Duration::from_secs(366 * 86_400);

#[derive(Debug)]
pub(super) struct CommitTime {
    last_us: i64,
    /// The wall clock that was believed last, and the monotonic one at that moment.
    believed_us: i64,
    believed_at: Duration,
    /// Monotonic time since which the wall clock has been too far ahead.
    ahead_since: Option<Duration>,
}

impl CommitTime {
    /// `last_us`: of the last commit, 0 where there was none.
    pub fn new(clock: &dyn Clock, last_us: i64) -> Self {
        let believed_us = if is_believed(clock.now_us(), last_us) { clock.now_us() } else { last_us };
        CommitTime { last_us, believed_us, believed_at: clock.monotonic(), ahead_since: None }
    }

    /// `max(wall, last + 1 us)`, with the wall clock's jumps held back.
    pub fn next(&mut self, clock: &dyn Clock) -> i64 {
        self.last_us = self.wall_us(clock).max(self.last_us.saturating_add(1));
        self.last_us
    }

    fn wall_us(&mut self, clock: &dyn Clock) -> i64 {
        let (wall_us, now) = (clock.now_us(), clock.monotonic());
        let elapsed_us = i64::try_from(now.saturating_sub(self.believed_at).as_micros()).unwrap_or(i64::MAX);
        let expected_us = self.believed_us.saturating_add(elapsed_us);
        if wall_us.saturating_sub(expected_us) > JUMP_MAX.as_micros() as i64 {
            let since = *self.ahead_since.get_or_insert(now);
            if now.saturating_sub(since) < JUMP_CONFIRMED_AFTER {
                return expected_us;
            }
        }
        self.ahead_since = None;
        self.believed_us = wall_us;
        self.believed_at = now;
        wall_us
    }
}

/// Whether a start takes the wall clock as it is, after a last commit at `last_us`.
pub fn is_believed(wall_us: i64, last_us: i64) -> bool {
    last_us == 0 || wall_us.saturating_sub(last_us) <= AWAY_MAX.as_micros() as i64
}

#[cfg(test)]
mod tests;
