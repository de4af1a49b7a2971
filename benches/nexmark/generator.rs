//! Nexmark's events by its published rules (Apache Beam, `sdk/nexmark/sources/generator`): of each 50 one person, three
//! auctions, 46 bids.
//!
//! ```text
//! event     0 person | 1 2 3 auctions | 4 .. 49 bids | 50 person | ...      10,000 events in a second of event time
//! auction   half of the bids for the first of the last hundred, the others for any of the last hundred or the next ten
//! bidder, seller   three of four the hot one of the last hundred people, the others any of the last thousand or the next ten
//! price     100 * 10 ^ (6 u), u uniform between 0 and 1: each power of ten as often
//! ```
//!
//! An event is a function of its number. Texts have the published lengths, and are cut out of one text of random letters.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondArray};
use tidemark::catalog::Table;

use crate::harness::{START_US, mix};

const EVENTS_PER_EPOCH: u64 = 50;
const AUCTIONS_PER_EPOCH: u64 = 3;
const FIRST_ID: u64 = 1000;
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;
/// Ids that are named before they are there.
const LEAD: u64 = 10;
const ACTIVE_PEOPLE: u64 = 1000;
const AUCTIONS_IN_FLIGHT: u64 = 100;
/// One of so many people and auctions is the hot one.
const HOT_OF: u64 = 100;
const MS_PER_TEN_EVENTS: u64 = 1;
const CHANNELS: u64 = 10_000;
const LETTERS: usize = 1 << 20;

const STATES: [&str; 6] = ["az", "ca", "id", "or", "wa", "wy"];
const CITIES: [&str; 10] =
    ["phoenix", "los angeles", "san francisco", "boise", "portland", "bend", "redmond", "seattle", "kent", "cheyenne"];
const FIRST_NAMES: [&str; 11] =
    ["peter", "paul", "luke", "john", "saul", "vicky", "kate", "julie", "sarah", "deiter", "walter"];
const LAST_NAMES: [&str; 9] = ["shultz", "abrams", "spencer", "white", "bartels", "walton", "smith", "jones", "noris"];
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// What makes events: the texts that they share.
pub struct Generator {
    letters: String,
    /// Names and URLs.
    channels: Vec<(String, String)>,
}

/// The random numbers of one event.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// Between 100 and 100 million.
    fn price(&mut self) -> i64 {
        let uniform = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (10_f64.powf(uniform * 6.0) * 100.0).round() as i64
    }
}

impl Generator {
    pub fn new() -> Generator {
        let letters = (0..LETTERS as u64).map(|index| char::from(b'a' + (mix(index) % 26) as u8)).collect();
        let mut generator = Generator { letters, channels: Vec::new() };
        generator.channels = (0..CHANNELS + HOT_CHANNELS.len() as u64).map(|index| generator.channel(index)).collect();
        generator
    }

    /// Nine of ten URLs have the channel's number; those of the hot ones, which stand at the end, have none.
    fn channel(&self, index: u64) -> (String, String) {
        let mut random = Random(mix(index));
        let mut part = || {
            let (length, start) = (3 + random.below(2), random.below(1 << 19));
            self.letters[start as usize..(start + length) as usize].to_owned()
        };
        let mut url = format!("https://www.nexmark.com/{}/{}/{}/item.htm?query=1", part(), part(), part());
        match index.checked_sub(CHANNELS) {
            Some(hot) => (HOT_CHANNELS[hot as usize].to_owned(), url),
            None => {
                if random.below(10) > 0 {
                    write!(url, "&channel_id={}", (index as i32).reverse_bits().unsigned_abs()).expect("text takes it");
                }
                (format!("channel-{index}"), url)
            }
        }
    }

    fn text(&self, random: &mut Random, length: u64) -> &str {
        let start = random.below(LETTERS as u64 - length);
        &self.letters[start as usize..(start + length) as usize]
    }

    /// What makes an event with `bytes` so far an `average` one.
    fn extra(&self, random: &mut Random, bytes: usize, average: u64) -> &str {
        let wanted = average.saturating_sub(bytes as u64);
        let spread = (wanted + 2) / 5;
        let length = wanted - spread + random.below((2 * spread).max(1));
        self.text(random, length)
    }

    /// The people, auctions and bids among the events `first..end`, each with the columns of its table and a row id.
    pub fn events(&self, tables: &[Arc<Table>], first: u64, end: u64) -> [RecordBatch; 3] {
        let of = |is_one: fn(u64) -> bool| (first..end).filter(|event| is_one(event % EVENTS_PER_EPOCH)).collect();
        let people: Vec<u64> = of(|place| place == 0);
        let auctions: Vec<u64> = of(|place| (1..=AUCTIONS_PER_EPOCH).contains(&place));
        let bids: Vec<u64> = of(|place| place > AUCTIONS_PER_EPOCH);
        let columns = [self.people(&people), self.auctions(&auctions), self.bids(&bids)];
        let mut batches =
            tables.iter().zip(columns).zip([people, auctions, bids]).map(|((table, mut columns), ids)| {
                columns.push(Arc::new(Int64Array::from_iter_values(ids.iter().map(|event| *event as i64))));
                RecordBatch::try_new(table.schema_with_row_id(), columns).expect("the table's columns")
            });
        std::array::from_fn(|_| batches.next().expect("three tables"))
    }

    fn people(&self, events: &[u64]) -> Vec<ArrayRef> {
        let mut texts: [StringBuilder; 6] = std::array::from_fn(|_| StringBuilder::new());
        for event in events {
            let random = &mut Random(mix(*event));
            let name = format!("{} {}", random.one_of(&FIRST_NAMES), random.one_of(&LAST_NAMES));
            let address = format!("{}@{}.com", self.text(random, 7), self.text(random, 5));
            let card: Vec<String> = (0..4).map(|_| format!("{:04}", random.below(10_000))).collect();
            let (card, city, state) = (card.join(" "), random.one_of(&CITIES), random.one_of(&STATES));
            let bytes = 8 + name.len() + address.len() + card.len() + city.len() + state.len();
            let extra = self.extra(random, bytes, 200);
            let values = [&name, &address, &card, city, state, extra];
            texts.iter_mut().zip(values).for_each(|(column, value)| column.append_value(value));
        }
        let [name, address, card, city, state, extra] = texts.map(|mut column| Arc::new(column.finish()) as ArrayRef);
        let ids = integers(events, |event| FIRST_ID + last_person(event));
        vec![ids, name, address, card, city, state, times(events, |_| 0), extra]
    }

    fn auctions(&self, events: &[u64]) -> Vec<ArrayRef> {
        let mut texts: [StringBuilder; 3] = std::array::from_fn(|_| StringBuilder::new());
        let mut numbers: [Int64Builder; 4] = std::array::from_fn(|_| Int64Builder::new());
        let mut lengths = Vec::with_capacity(events.len());
        // Of event time, in which as many auctions begin as are open at a time.
        let horizon = AUCTIONS_IN_FLIGHT * EVENTS_PER_EPOCH / AUCTIONS_PER_EPOCH * MS_PER_TEN_EVENTS / 10;
        for event in events {
            let random = &mut Random(mix(*event));
            let (item, description) = (self.text(random, 20), self.text(random, 100));
            let initial = random.price();
            let reserve = initial + random.price();
            lengths.push(1 + random.below(2 * horizon));
            let seller = FIRST_ID + if random.below(4) > 0 { hot(last_person(*event)) } else { person(*event, random) };
            let category = FIRST_CATEGORY + random.below(CATEGORIES);
            let extra = self.extra(random, 48 + item.len() + description.len(), 500);
            texts.iter_mut().zip([item, description, extra]).for_each(|(column, value)| column.append_value(value));
            let values = [initial, reserve, seller as i64, category as i64];
            numbers.iter_mut().zip(values).for_each(|(column, value)| column.append_value(value));
        }
        let [item, description, extra] = texts.map(|mut column| Arc::new(column.finish()) as ArrayRef);
        let [initial, reserve, seller, category] = numbers.map(|mut column| Arc::new(column.finish()) as ArrayRef);
        let ids = integers(events, |event| FIRST_ID + last_auction(event));
        let expires = times(events, |row| lengths[row]);
        vec![ids, item, description, initial, reserve, times(events, |_| 0), expires, seller, category, extra]
    }

    fn bids(&self, events: &[u64]) -> Vec<ArrayRef> {
        let mut texts: [StringBuilder; 3] = std::array::from_fn(|_| StringBuilder::new());
        let mut numbers: [Int64Builder; 3] = std::array::from_fn(|_| Int64Builder::new());
        for event in events {
            let random = &mut Random(mix(*event));
            let auction = if random.below(2) > 0 { hot(last_auction(*event)) } else { auction(*event, random) };
            // The one beside the hot seller.
            let bidder = if random.below(4) > 0 { hot(last_person(*event)) + 1 } else { person(*event, random) };
            let price = random.price();
            let is_hot = random.below(2) > 0;
            let channel =
                if is_hot { CHANNELS + random.below(HOT_CHANNELS.len() as u64) } else { random.below(CHANNELS) };
            let (channel, url) = &self.channels[channel as usize];
            let extra = self.extra(random, 32, 100);
            texts.iter_mut().zip([channel, url, extra]).for_each(|(column, value)| column.append_value(value));
            let values = [(FIRST_ID + auction) as i64, (FIRST_ID + bidder) as i64, price];
            numbers.iter_mut().zip(values).for_each(|(column, value)| column.append_value(value));
        }
        let [channel, url, extra] = texts.map(|mut column| Arc::new(column.finish()) as ArrayRef);
        let [auction, bidder, price] = numbers.map(|mut column| Arc::new(column.finish()) as ArrayRef);
        vec![auction, bidder, price, channel, url, times(events, |_| 0), extra]
    }
}

/// The newest person when an event happens, counted from 0.
fn last_person(event: u64) -> u64 {
    event / EVENTS_PER_EPOCH
}

/// The newest auction, an event that is one included.
fn last_auction(event: u64) -> u64 {
    let (epoch, place) = (event / EVENTS_PER_EPOCH, event % EVENTS_PER_EPOCH);
    (epoch * AUCTIONS_PER_EPOCH + place.min(AUCTIONS_PER_EPOCH)).saturating_sub(1)
}

fn hot(last: u64) -> u64 {
    last / HOT_OF * HOT_OF
}

fn person(event: u64, random: &mut Random) -> u64 {
    let people = last_person(event) + 1;
    let active = people.min(ACTIVE_PEOPLE);
    people - active + random.below(active + LEAD)
}

fn auction(event: u64, random: &mut Random) -> u64 {
    let last = last_auction(event);
    let first = last.saturating_sub(AUCTIONS_IN_FLIGHT);
    first + random.below(last - first + 1 + LEAD)
}

fn integers(events: &[u64], of: impl Fn(u64) -> u64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(events.iter().map(|event| of(*event) as i64)))
}

/// When the events happened, and `later_ms` of their rows after that.
fn times(events: &[u64], later_ms: impl Fn(usize) -> u64) -> ArrayRef {
    let time =
        |(row, event): (usize, &u64)| START_US + ((event * MS_PER_TEN_EVENTS / 10 + later_ms(row)) * 1000) as i64;
    Arc::new(TimestampMicrosecondArray::from_iter_values(events.iter().enumerate().map(time)))
}
