//! What a truck does at a moment: pure functions of (seed, truck, event time).
//!
//! Smooth values are linear between random ones at fixed moments. Only additions, multiplications and divisions, so that
//! every machine computes the same bits.

const SECOND_US: i64 = 1_000_000;

/// Length of a stretch for which a truck stands or drives.
const STRETCH_US: i64 = 20 * 60 * SECOND_US;
/// One stretch in so many is spent standing.
const STANDING_ONE_IN: u64 = 8;

/// A truck of a seeded fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truck {
    pub seed: u64,
    pub number: u64,
}

/// Which random number of a truck is meant; each has its own sequence.
#[derive(Debug, Clone, Copy)]
pub enum Channel {
    Latitude = 1,
    Longitude,
    Elevation,
    Velocity,
    Heading,
    Grade,
    Consumption,
    Stretch,
    FuelPhase,
    FuelPeriod,
    Load,
    Status,
    HomeLatitude,
    HomeLongitude,
    Missing,
    Repeated,
    Late,
    LateBy,
    NoValue,
}

impl Truck {
    /// 64 random bits for a moment of a channel (splitmix64's finalizer over the mixed inputs).
    pub fn random(self, channel: Channel, moment: i64) -> u64 {
        let mut bits = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ self.number.wrapping_mul(0xd1b5_4a32_d192_ed03)
            ^ (moment as u64).wrapping_mul(0x8cb9_2ba7_2f3d_8dd7)
            ^ (channel as u64) << 56;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// True once in `one_in` moments.
    pub fn chance(self, channel: Channel, moment: i64, one_in: u64) -> bool {
        self.random(channel, moment).is_multiple_of(one_in)
    }

    /// In [0, 1).
    fn unit(self, channel: Channel, moment: i64) -> f64 {
        (self.random(channel, moment) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// In [0, 1), changing slowly: a new value every `knot_s` seconds, and straight lines between.
    fn smooth(self, channel: Channel, time_us: i64, knot_s: i64) -> f64 {
        let knot_us = knot_s * SECOND_US;
        let knot = time_us.div_euclid(knot_us);
        let part = time_us.rem_euclid(knot_us) as f64 / knot_us as f64;
        let (before, after) = (self.unit(channel, knot), self.unit(channel, knot + 1));
        before + (after - before) * part
    }

    pub fn stands_still(self, time_us: i64) -> bool {
        self.chance(Channel::Stretch, time_us.div_euclid(STRETCH_US), STANDING_ONE_IN)
    }

    /// Degrees; a truck stays within half a degree of its home.
    pub fn latitude(self, time_us: i64) -> f64 {
        let home = 30.0 + 18.0 * self.unit(Channel::HomeLatitude, 0);
        rounded(home + self.smooth(Channel::Latitude, time_us, 900) - 0.5, 1e5)
    }

    pub fn longitude(self, time_us: i64) -> f64 {
        let home = -120.0 + 45.0 * self.unit(Channel::HomeLongitude, 0);
        rounded(home + self.smooth(Channel::Longitude, time_us, 900) - 0.5, 1e5)
    }

    /// Metres.
    pub fn elevation(self, time_us: i64) -> f64 {
        rounded(2500.0 * self.smooth(Channel::Elevation, time_us, 600), 10.0)
    }

    /// Kilometres per hour. A standing truck still measures a little.
    pub fn velocity(self, time_us: i64) -> f64 {
        let share = self.smooth(Channel::Velocity, time_us, 60);
        rounded(if self.stands_still(time_us) { 0.8 * share } else { 10.0 + 90.0 * share }, 100.0)
    }

    /// Degrees, clockwise from north.
    pub fn heading(self, time_us: i64) -> f64 {
        rounded(359.9 * self.smooth(Channel::Heading, time_us, 300), 10.0)
    }

    /// Percent.
    pub fn grade(self, time_us: i64) -> f64 {
        rounded(12.0 * self.smooth(Channel::Grade, time_us, 120) - 6.0, 10.0)
    }

    /// Litres per 100 kilometres.
    pub fn fuel_consumption(self, time_us: i64) -> f64 {
        rounded(12.0 + 14.0 * self.smooth(Channel::Consumption, time_us, 120), 10.0)
    }

    /// Share of the tank, from full down to nothing within some hours, then full again.
    pub fn fuel_state(self, time_us: i64) -> f64 {
        let period_us = (4.0 + 4.0 * self.unit(Channel::FuelPeriod, 0)) * 3600.0 * SECOND_US as f64;
        let turns = time_us as f64 / period_us + self.unit(Channel::FuelPhase, 0);
        rounded(1.0 - (turns - turns.floor()), 1e4)
    }

    /// Kilograms; a new load every four hours.
    pub fn current_load(self, time_us: i64) -> f64 {
        rounded(5000.0 * self.unit(Channel::Load, time_us.div_euclid(4 * 3600 * SECOND_US)), 1.0)
    }

    /// 0 is well, 5 is the worst; mostly well.
    pub fn status(self, time_us: i64) -> i32 {
        let random = self.random(Channel::Status, time_us.div_euclid(600 * SECOND_US)) % 100;
        if random < 90 { 0 } else { 1 + (random % 5) as i32 }
    }
}

/// To 1/`per_unit`.
fn rounded(value: f64, per_unit: f64) -> f64 {
    (value * per_unit + 0.5).floor() / per_unit
}
