//! Statements that change the tables: one of each kind, with NULLs, extreme numbers, and texts that are empty.

use super::chance::Chance;

pub const CREATE_TABLES: [&str; 4] = [
    "CREATE TABLE readings (k integer, device text, n bigint, x double precision, p numeric(20,4), ts timestamp, ok boolean, u uuid)",
    "CREATE TABLE devices (id integer PRIMARY KEY, name text, fleet text, size bigint)",
    "CREATE TABLE events (k integer, kind text, v double precision, ts timestamp, fine boolean) APPEND ONLY",
    "CREATE TABLE arrivals (w integer, k integer, kind text, v double precision, ts timestamp, WATERMARK FOR ts AS ts - INTERVAL '20 seconds') APPEND ONLY",
];

#[derive(Default)]
pub struct History {
    next_id: usize,
    /// Writes to `arrivals`, which have their number in `w`.
    arrivals: usize,
}

impl History {
    /// One commit; `None` where there is nothing to say.
    pub fn statement(&mut self, chance: &mut Chance) -> Option<String> {
        Some(match chance.below(12) {
            0..=3 => {
                let rows: Vec<String> = (0..1 + chance.below(4)).map(|_| reading(chance)).collect();
                format!("INSERT INTO readings VALUES {}", rows.join(", "))
            }
            4 => {
                self.next_id += 1;
                format!("INSERT INTO devices VALUES ({}, {})", self.next_id % 7, device(chance))
            }
            5 => {
                let rows: Vec<String> = (0..1 + chance.below(3)).map(|_| event(chance)).collect();
                format!("INSERT INTO events VALUES {}", rows.join(", "))
            }
            6 => format!("DELETE FROM readings WHERE {}", rows_of_readings(chance)),
            7 => format!("UPDATE readings SET {} WHERE {}", assignment(chance), rows_of_readings(chance)),
            8 => format!("UPDATE devices SET name = {} WHERE id = {}", text(chance), chance.below(7)),
            9 => format!("DELETE FROM devices WHERE id = {}", chance.below(7)),
            _ => {
                self.arrivals += 1;
                let rows: Vec<String> = (0..1 + chance.below(3)).map(|_| self.arrival(chance)).collect();
                format!("INSERT INTO arrivals VALUES {}", rows.join(", "))
            }
        })
    }

    /// Half a minute later with each write, and up to a minute late; a row in eight has no time.
    fn arrival(&self, chance: &mut Chance) -> String {
        let seconds = (self.arrivals * 30 + 90).saturating_sub(chance.below(90));
        let ts = match chance.once_in(8) {
            true => "NULL".to_owned(),
            false => format!("TIMESTAMP '2020-01-01 00:00:00' + INTERVAL '{seconds} seconds'"),
        };
        format!("({}, {}, {}, {}, {ts})", self.arrivals, small(chance), text(chance), float(chance))
    }
}

fn rows_of_readings(chance: &mut Chance) -> String {
    match chance.below(4) {
        0 => format!("k = {}", chance.below(5)),
        1 => format!("device = {}", text(chance)),
        2 => "n IS NULL".to_owned(),
        _ => format!("n > {} AND k < {}", chance.below(4), chance.below(5)),
    }
}

fn assignment(chance: &mut Chance) -> String {
    match chance.below(6) {
        0 => format!("k = {}", small(chance)),
        5 => format!("u = {}", uuid(chance)),
        1 => format!("device = {}", text(chance)),
        2 => format!("n = {}", large(chance)),
        3 => format!("x = {}", float(chance)),
        _ => format!("ts = {}", time(chance)),
    }
}

fn reading(chance: &mut Chance) -> String {
    let (k, device, n, x) = (small(chance), text(chance), large(chance), float(chance));
    let (p, ts) = (numeric(chance), time(chance));
    let ok = chance.one_of(&["true", "false", "NULL"]);
    let u = uuid(chance);
    format!("({k}, {device}, {n}, {x}, {p}, {ts}, {ok}, {u})")
}

fn device(chance: &mut Chance) -> String {
    format!("{}, {}, {}", text(chance), text(chance), large(chance))
}

fn event(chance: &mut Chance) -> String {
    let fine = *chance.one_of(&["true", "false", "NULL"]);
    format!("({}, {}, {}, {}, {fine})", small(chance), text(chance), float(chance), time(chance))
}

fn small(chance: &mut Chance) -> String {
    chance.one_of(&["NULL", "0", "1", "2", "3", "4", "-1"]).to_string()
}

fn large(chance: &mut Chance) -> String {
    chance.one_of(&["NULL", "0", "1", "2", "3", "4", "9223372036854775807", "-9223372036854775807"]).to_string()
}

fn float(chance: &mut Chance) -> String {
    let values = [
        "NULL",
        "0",
        "-0.0",
        "0.1",
        "0.2",
        "1.5",
        "-2.5",
        "1e300",
        "5e-324",
        "'NaN'",
        "'Infinity'",
        "'-Infinity'",
        "1e16",
        "1",
    ];
    chance.one_of(&values).to_string()
}

fn numeric(chance: &mut Chance) -> String {
    chance.one_of(&["NULL", "0", "1.5", "-1.25", "9999999999999999.9999", "2.5"]).to_string()
}

fn uuid(chance: &mut Chance) -> String {
    let values = [
        "NULL",
        "'00000000-0000-0000-0000-000000000000'",
        "'00000000-0000-0000-0000-000000000001'",
        "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
    ];
    chance.one_of(&values).to_string()
}

fn text(chance: &mut Chance) -> String {
    chance.one_of(&["NULL", "''", "'a'", "'b'", "'truck_1'", "'truck_2'", "'ä'"]).to_string()
}

fn time(chance: &mut Chance) -> String {
    let values = [
        "NULL",
        "'2026-01-01 00:00:00'",
        "'2026-01-01 00:00:30'",
        "'2026-01-01 00:05:00'",
        "'1900-02-28 23:59:59.999999'",
        "'2199-12-31 00:00:00'",
    ];
    chance.one_of(&values).to_string()
}
