//! Seeded chance: splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::io::Rng;

/// The same seed gives the same numbers. Shared by reference: whoever asks next gets the next one.
#[derive(Debug)]
pub struct SimRng {
    state: AtomicU64,
}

impl SimRng {
    pub fn new(seed: u64) -> Self {
        SimRng { state: AtomicU64::new(seed) }
    }

    /// A number below `bound`, which is not 0. Slightly uneven, which is no matter here.
    pub fn below(&self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// True once in `odds` times.
    pub fn one_in(&self, odds: u64) -> bool {
        self.below(odds) == 0
    }
}

impl Rng for SimRng {
    fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
