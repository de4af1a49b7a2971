//! Mode `wire`: PostgreSQL's protocol, version 3, over a bare socket, a message at a time.
//!
//! A golden runs three times, each time on a server of its own: in the simple protocol, in the extended one with text
//! results, and in the extended one with binary results. Each run is compared with the file, and what the clients saw
//! (columns with their types, rows, tags, notices, errors) with each other. In the last run every query is also prepared and
//! run several times, and must answer the same.
//!
//! Shares no code with the server, nor with the client library of the other modes.

use chrono_tz::Tz;
use sqllogictest::SortMode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answer::{Answer, Refusal, line_of};
use crate::binary::{Printing, text_of};

/// How statements are sent, and values received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Simple,
    ExtendedText,
    ExtendedBinary,
}

impl Protocol {
    pub const ALL: [Protocol; 3] = [Protocol::Simple, Protocol::ExtendedText, Protocol::ExtendedBinary];

    pub fn name(self) -> &'static str {
        match self {
            Protocol::Simple => "simple",
            Protocol::ExtendedText => "extended, text",
            Protocol::ExtendedBinary => "extended, binary",
        }
    }
}

/// The first makes no plan to keep, the second does, the third uses it.
const REPETITIONS: usize = 3;

const VERSION: u32 = 196_608;

/// `text` and types that are text at the client.
const TEXT: u32 = 25;

struct Message {
    kind: u8,
    body: Vec<u8>,
}

/// A column as RowDescription has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    name: String,
    oid: u32,
    modifier: i32,
    binary: bool,
}

/// What one statement brought.
#[derive(Default)]
struct Outcome {
    columns: Option<Vec<Column>>,
    /// Of the prepared statement, before Bind.
    statement_columns: Option<Vec<Column>>,
    lines: Vec<String>,
    copied: Vec<u8>,
    is_copy_out: bool,
    tag: String,
    notices: Vec<String>,
    error: Option<Refusal>,
}

pub struct Wire {
    socket: TcpStream,
    protocol: Protocol,
    printing: Printing,
    /// Everything that came, for the comparison of the protocols.
    seen: Vec<String>,
}

impl Wire {
    pub async fn connect(address: (&str, u16), protocol: Protocol) -> Result<Wire, Refusal> {
        let socket = TcpStream::connect(address).await.map_err(broken)?;
        let mut wire = Wire { socket, protocol, printing: Printing { time_zone: Tz::UTC }, seen: Vec::new() };
        let parameters = b"user\0tidemark\0database\0tidemark\0\0";
        let length = parameters.len() as u32 + 8;
        wire.send(&[&length.to_be_bytes()[..], &VERSION.to_be_bytes(), parameters].concat()).await?;
        let outcome = wire.outcome().await?;
        outcome.error.map_or(Ok(wire), Err)
    }

    /// What was seen since the last call.
    pub fn take_seen(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }

    pub async fn run(&mut self, sql: &str, sort: Option<SortMode>) -> Result<Answer, Refusal> {
        let (sql, data) = match crate::client::copies_in(sql) {
            true => sql.split_once('\n').map_or((sql, Some("")), |(sql, data)| (sql, Some(data))),
            false => (sql, None),
        };
        // Several statements can be one message in the simple protocol alone.
        let extended = self.protocol != Protocol::Simple && crate::drip::statements(sql) == 1;
        let outcome = if !extended {
            self.send(&frame(b'Q', &[text(sql)])).await?;
            self.finish(data, true).await?
        } else {
            // A COPY's rows stand before the Sync.
            let end = if data.is_some() { b'H' } else { b'S' };
            self.send(&[self.extended(sql), frame(end, &[])].concat()).await?;
            self.finish(data, data.is_none()).await?
        };
        self.note(&outcome, sort);
        if let (true, Some(statement), Some(portal)) = (extended, &outcome.statement_columns, &outcome.columns) {
            let same = statement
                .iter()
                .zip(portal)
                .all(|(left, right)| (&left.name, left.oid, left.modifier) == (&right.name, right.oid, right.modifier));
            if !same || statement.len() != portal.len() {
                return Err(broken(format!("described as {statement:?}, then as {portal:?}")));
            }
        }
        if self.protocol == Protocol::ExtendedBinary && extended && is_query(sql) && outcome.error.is_none() {
            self.repeat(sql, &outcome.lines, sort).await?;
        }
        outcome.answer()
    }

    /// The same query as a prepared statement that runs several times: the last of them by the plan that it has kept.
    async fn repeat(&mut self, sql: &str, expected: &[String], sort: Option<SortMode>) -> Result<(), Refusal> {
        let (none, one) = (0_i16.to_be_bytes(), 1_i16.to_be_bytes());
        let sync = frame(b'S', &[]);
        let parse = frame(b'P', &[text("again"), text(sql), none.to_vec()]);
        self.send(&[&parse[..], &sync].concat()).await?;
        self.outcome().await?.error.map_or(Ok(()), Err)?;
        for _ in 0..REPETITIONS {
            let run = [
                frame(b'B', &[text(""), text("again"), none.to_vec(), none.to_vec(), one.to_vec(), one.to_vec()]),
                frame(b'D', &[b"P\0".to_vec()]),
                frame(b'E', &[text(""), 0_i32.to_be_bytes().to_vec()]),
                sync.clone(),
            ];
            self.send(&run.concat()).await?;
            let outcome = self.outcome().await?;
            outcome.error.map_or(Ok(()), Err)?;
            let (mut lines, mut expected) = (outcome.lines, expected.to_vec());
            if sort == Some(SortMode::RowSort) {
                lines.sort();
                expected.sort();
            }
            if lines != expected {
                return Err(broken(format!("prepared, it gives {lines:?} when run again, not {expected:?}")));
            }
        }
        self.send(&[&frame(b'C', &[b"S".to_vec(), text("again")])[..], &sync].concat()).await?;
        self.outcome().await?.error.map_or(Ok(()), Err)
    }

    /// Parse, describe, bind, describe, execute.
    fn extended(&self, sql: &str) -> Vec<u8> {
        let format = i16::from(self.protocol == Protocol::ExtendedBinary).to_be_bytes();
        let (none, one) = (0_i16.to_be_bytes(), 1_i16.to_be_bytes());
        [
            frame(b'P', &[text(""), text(sql), none.to_vec()]),
            frame(b'D', &[b"S\0".to_vec()]),
            frame(b'B', &[text(""), text(""), none.to_vec(), none.to_vec(), one.to_vec(), format.to_vec()]),
            frame(b'D', &[b"P\0".to_vec()]),
            frame(b'E', &[text(""), 0_i32.to_be_bytes().to_vec()]),
        ]
        .concat()
    }

    /// Reads to ReadyForQuery; gives COPY its rows, and says Sync where the protocol wants it.
    async fn finish(&mut self, data: Option<&str>, mut synced: bool) -> Result<Outcome, Refusal> {
        let mut outcome = Outcome::default();
        loop {
            let message = self.message().await?;
            match message.kind {
                b'Z' => return Ok(outcome),
                b'G' => {
                    let data = data.unwrap_or_default();
                    if !data.is_empty() {
                        self.send(&frame(b'd', &[format!("{data}\n").into_bytes()])).await?;
                    }
                    self.send(&frame(b'c', &[])).await?;
                    if !synced {
                        self.send(&frame(b'S', &[])).await?;
                        synced = true;
                    }
                }
                kind => {
                    self.take(&message, &mut outcome)?;
                    // Command complete, empty query, error: nothing more comes by itself.
                    if !synced && matches!(kind, b'C' | b'I' | b'E') {
                        self.send(&frame(b'S', &[])).await?;
                        synced = true;
                    }
                }
            }
        }
    }

    async fn outcome(&mut self) -> Result<Outcome, Refusal> {
        self.finish(None, true).await
    }

    fn take(&mut self, message: &Message, outcome: &mut Outcome) -> Result<(), Refusal> {
        let mut body = Body(&message.body);
        match message.kind {
            b'T' => {
                let columns = body.columns()?;
                // In the extended protocol the second description, the portal's, is the one that counts.
                outcome.statement_columns = outcome.columns.replace(columns);
            }
            b'D' => {
                let columns = outcome.columns.as_deref().unwrap_or_default();
                outcome.lines.push(body.row(columns, self.printing)?);
            }
            b'd' => outcome.copied.extend_from_slice(&message.body),
            b'H' => outcome.is_copy_out = true,
            b'C' => outcome.tag = body.text()?,
            b'N' => outcome.notices.push(body.refusal()?.text),
            b'E' => outcome.error = Some(body.refusal()?),
            b'S' => {
                let (name, value) = (body.text()?, body.text()?);
                if name == "TimeZone" {
                    self.printing.time_zone = value.parse().map_err(|error| broken(format!("{error:?}")))?;
                }
            }
            // Authentication done, key data, parse, bind and close complete, no data, parameters, copy done, empty query.
            b'R' | b'K' | b'1' | b'2' | b'3' | b'n' | b't' | b'c' | b'I' => {}
            other => return Err(broken(format!("a message of kind {:?}", char::from(other)))),
        }
        Ok(())
    }

    /// Rows of a query without order are noted sorted. What is refused when it runs was described in the extended
    /// protocol alone.
    fn note(&mut self, outcome: &Outcome, sort: Option<SortMode>) {
        let columns = outcome.columns.iter().filter(|_| outcome.error.is_none()).flatten();
        self.seen.extend(columns.map(|column| format!("column {} {}", column.name, column.oid)));
        let mut lines = outcome.lines.clone();
        if sort == Some(SortMode::RowSort) {
            lines.sort();
        }
        self.seen.extend(lines);
        self.seen.push(String::from_utf8_lossy(&outcome.copied).into_owned());
        self.seen.push(outcome.tag.clone());
        self.seen.extend(outcome.notices.iter().map(|notice| format!("notice {notice}")));
        self.seen.extend(outcome.error.iter().map(|error| error.text.clone()));
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.socket.write_all(bytes).await.map_err(broken)
    }

    async fn message(&mut self) -> Result<Message, Refusal> {
        let kind = self.socket.read_u8().await.map_err(broken)?;
        let length = self.socket.read_u32().await.map_err(broken)? as usize;
        let mut body = vec![0; length.checked_sub(4).ok_or_else(|| broken("a message without a length"))?];
        self.socket.read_exact(&mut body).await.map_err(broken)?;
        Ok(Message { kind, body })
    }
}

impl Outcome {
    fn answer(self) -> Result<Answer, Refusal> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.is_copy_out {
            let text = String::from_utf8_lossy(&self.copied).into_owned();
            let lines = text.lines().map(|line| line_of(std::iter::once(Some(line)))).collect();
            return Ok(Answer::Rows { columns: 1, lines });
        }
        Ok(match self.columns {
            Some(columns) => Answer::Rows { columns: columns.len(), lines: self.lines },
            None => Answer::Done { rows: self.tag.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0) },
        })
    }
}

/// The rest of a message's body.
struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn bytes(&mut self, count: usize) -> Result<&[u8], Refusal> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| broken("a message ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<i64, Refusal> {
        let bytes = self.bytes(N)?;
        let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
        Ok(bytes.iter().fold(if negative { -1 } else { 0 }, |number, byte| number << 8 | i64::from(*byte)))
    }

    fn text(&mut self) -> Result<String, Refusal> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(|| broken("a text without an end"))?;
        let text = String::from_utf8(self.bytes(end)?.to_vec()).map_err(broken)?;
        self.bytes(1)?;
        Ok(text)
    }

    fn columns(&mut self) -> Result<Vec<Column>, Refusal> {
        let count = self.number::<2>()?;
        let mut columns = Vec::new();
        for _ in 0..count {
            let name = self.text()?;
            let (_table, _attribute, oid) = (self.number::<4>()?, self.number::<2>()?, self.number::<4>()? as u32);
            let (_size, modifier, format) = (self.number::<2>()?, self.number::<4>()? as i32, self.number::<2>()?);
            columns.push(Column { name, oid, modifier, binary: format == 1 });
        }
        Ok(columns)
    }

    fn row(&mut self, columns: &[Column], printing: Printing) -> Result<String, Refusal> {
        let count = self.number::<2>()?;
        if count != columns.len() as i64 {
            return Err(broken(format!("a row of {count} values for {} columns", columns.len())));
        }
        let mut values: Vec<Option<String>> = Vec::new();
        for column in columns {
            let length = self.number::<4>()?;
            values.push(match usize::try_from(length) {
                Err(_) => None,
                Ok(length) => {
                    let bytes = self.bytes(length)?;
                    let oid = if column.binary { column.oid } else { TEXT };
                    Some(text_of(oid, bytes, printing).map_err(|error| broken(format!("{}: {error}", column.name)))?)
                }
            });
        }
        Ok(line_of(values.iter().map(Option::as_deref)))
    }

    /// An error's or notice's fields, in the order of the goldens.
    fn refusal(&mut self) -> Result<Refusal, Refusal> {
        let mut fields: Vec<(u8, String)> = Vec::new();
        while self.0.first().is_some_and(|code| *code != 0) {
            let code = self.number::<1>()? as u8;
            fields.push((code, self.text()?));
        }
        let find = |wanted: u8| fields.iter().find(|(code, _)| *code == wanted).map(|(_, text)| text.as_str());
        let code = find(b'C').unwrap_or_default().to_owned();
        let mut text = format!("{code}: {}", find(b'M').unwrap_or_default());
        for (field, name) in [(b'D', "DETAIL"), (b'H', "HINT"), (b'W', "CONTEXT"), (b'P', "POSITION")] {
            if let Some(value) = find(field) {
                text.push_str(&format!("\n{name}: {value}"));
            }
        }
        Ok(Refusal { code, text })
    }
}

fn is_query(sql: &str) -> bool {
    let first = sql.split_whitespace().next().unwrap_or_default();
    ["SELECT", "WITH", "VALUES"].iter().any(|word| first.eq_ignore_ascii_case(word))
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn frame(kind: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let body = parts.concat();
    [&[kind], &(body.len() as u32 + 4).to_be_bytes()[..], &body].concat()
}

fn broken(error: impl std::fmt::Display) -> Refusal {
    Refusal { code: String::new(), text: format!("connection: {error}") }
}

/// Fails at the first thing that two protocols saw differently.
pub fn compare_protocols(seen: &[(Protocol, Vec<String>)]) -> Result<(), String> {
    let Some(((first, expected), others)) = seen.split_first() else { return Ok(()) };
    for (protocol, actual) in others {
        for index in 0..expected.len().max(actual.len()) {
            let (left, right) = (expected.get(index), actual.get(index));
            if left != right {
                let names = [first.name(), protocol.name()];
                return Err(format!("protocols differ:\n  {}: {left:?}\n  {}: {right:?}", names[0], names[1]));
            }
        }
    }
    Ok(())
}
