//! Days, leap years and offsets at the edges.

use super::*;

#[test]
fn days_round_trip_over_the_whole_range() {
    for days in (-2_000_000_000..2_000_000_000).step_by(7_654_321).chain(-800..800) {
        let date = CivilDate::from_days(days);
        assert!(date.is_valid());
        assert_eq!(date.days(), days);
    }
    assert_eq!(CivilDate::from_days(0), CivilDate { year: 1970, month: 1, day: 1 });
    assert_eq!(CivilDate { year: 2000, month: 2, day: 29 }.days(), 11_016);
    assert!(!CivilDate { year: 1900, month: 2, day: 29 }.is_valid());
}

#[test]
fn offsets_of_clock_times_that_are_no_single_instant() {
    let local = |month, day, hour| CivilDate { year: 2024, month, day }.days() * DAY_US + hour * HOUR_US + HOUR_US / 2;
    let zone = Tz::Europe__Berlin;
    assert_eq!(offset_of_local(zone, local(3, 31, 2)), 3600, "skipped: the offset before the gap");
    assert_eq!(offset_of_local(zone, local(10, 27, 2)), 3600, "twice: the offset after the change");
    assert_eq!(offset_of_local(zone, local(7, 1, 2)), 7200);
    assert_eq!(offset_at(zone, i64::MIN), 3208, "local mean time");
    offset_at(zone, i64::MAX);
}
