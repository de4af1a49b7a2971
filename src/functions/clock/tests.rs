//! Against PostgreSQL 15's answers.

use super::fields::{Field, field_of_clock, iso_week, truncate_clock};
use crate::types::calendar::{CivilDate, DAY_US};

fn at(year: i64, month: u32, day: u32, time_us: i64) -> i64 {
    CivilDate { year, month, day }.days() * DAY_US + time_us
}

#[test]
fn years_before_christ_and_their_centuries() {
    // extract(year|decade|century|millennium from timestamp '...')
    for (year, expected) in [
        (2026, [2026, 202, 21, 3]),
        (2000, [2000, 200, 20, 2]),
        (2001, [2001, 200, 21, 3]),
        (1, [1, 0, 1, 1]),
        // 1 BC, 2 BC, 100 BC, 101 BC, 1000 BC, 1001 BC
        (0, [-1, 0, -1, -1]),
        (-1, [-2, -1, -1, -1]),
        (-99, [-100, -10, -1, -1]),
        (-100, [-101, -10, -2, -1]),
        (-999, [-1000, -100, -10, -1]),
        (-1000, [-1001, -100, -11, -2]),
    ] {
        let fields = [Field::Year, Field::Decade, Field::Century, Field::Millennium];
        let found = fields.map(|field| field_of_clock(field, at(year, 6, 15, 0)).unwrap());
        assert_eq!(found, expected, "year {year}");
    }
}

#[test]
fn truncation_ends_where_the_unit_begins() {
    let time = at(2026, 8, 19, 13 * 3_600_000_000 + 14 * 60_000_000 + 15_500_250);
    for (field, expected) in [
        (Field::Week, at(2026, 8, 17, 0)),
        (Field::Month, at(2026, 8, 1, 0)),
        (Field::Quarter, at(2026, 7, 1, 0)),
        (Field::Year, at(2026, 1, 1, 0)),
        (Field::Decade, at(2020, 1, 1, 0)),
        (Field::Century, at(2001, 1, 1, 0)),
        (Field::Millennium, at(2001, 1, 1, 0)),
        (Field::Milliseconds, time - 250),
    ] {
        assert_eq!(truncate_clock(field, time), Some(expected), "{field:?}");
    }
    // date_trunc('century', timestamp '0005-06-15 BC') is 0100-01-01 BC, that of '2000-01-01' 1901-01-01.
    assert_eq!(truncate_clock(Field::Century, at(-4, 6, 15, 0)), Some(at(-99, 1, 1, 0)));
    assert_eq!(truncate_clock(Field::Century, at(2000, 1, 1, 0)), Some(at(1901, 1, 1, 0)));
    assert_eq!(truncate_clock(Field::Millennium, at(-4, 6, 15, 0)), Some(at(-999, 1, 1, 0)));
    assert_eq!(truncate_clock(Field::DayOfWeek, time), None);
}

#[test]
fn weeks_belong_to_the_year_of_their_thursday() {
    for (year, month, day, expected) in
        [(2026, 1, 1, (2026, 1)), (2027, 1, 1, (2026, 53)), (2024, 12, 30, (2025, 1)), (2023, 1, 1, (2022, 52))]
    {
        assert_eq!(iso_week(CivilDate { year, month, day }.days()), expected, "{year}-{month}-{day}");
    }
}
