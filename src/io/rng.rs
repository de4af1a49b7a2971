//! Chance, as the core sees it.

#![expect(clippy::disallowed_methods, reason = "this is the seam to the machine's chance")]

/// A source of random numbers; the simulated one is seeded.
pub trait Rng: Send + Sync + 'static {
    fn next_u64(&self) -> u64;
}

/// The operating system's.
#[derive(Debug, Clone, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn next_u64(&self) -> u64 {
        rand::random()
    }
}
