//! Simulation and oracles.

pub mod oracle;
