//! What no well-behaved client sends, over a bare socket.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::TestServer;
use crate::settings::ServerSettings;

struct Socket(TcpStream);

/// A message of the server.
#[derive(Debug, PartialEq)]
struct Answer {
    kind: char,
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, code: u8) -> String {
        let field = self.body.split(|byte| *byte == 0).find(|field| field.first() == Some(&code));
        field.map(|field| String::from_utf8_lossy(&field[1..]).into_owned()).unwrap_or_default()
    }
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
}

fn startup(version: u32, parameters: &[u8]) -> Vec<u8> {
    let length = parameters.len() as u32 + 8;
    [&length.to_be_bytes()[..], &version.to_be_bytes(), parameters].concat()
}

const LOCAL: &[u8] = b"user\0local\0database\0tidemark\0\0";
const V3: u32 = 196_608;

impl Socket {
    async fn open(server: &TestServer) -> Socket {
        Socket(TcpStream::connect(server.addr).await.unwrap())
    }

    async fn login(server: &TestServer) -> Socket {
        let mut socket = Socket::open(server).await;
        socket.send(&startup(V3, LOCAL)).await;
        assert_eq!(socket.until('Z').await.last().unwrap().body, b"I");
        socket
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// `None` at the end of the connection.
    async fn answer(&mut self) -> Option<Answer> {
        let read = async {
            let kind = self.0.read_u8().await.ok()?;
            let length = self.0.read_u32().await.ok()?;
            let mut body = vec![0; length as usize - 4];
            self.0.read_exact(&mut body).await.ok()?;
            Some(Answer { kind: kind.into(), body })
        };
        tokio::time::timeout(Duration::from_secs(5), read).await.expect("the server says nothing")
    }

    async fn until(&mut self, kind: char) -> Vec<Answer> {
        let mut answers = Vec::new();
        loop {
            let answer = self.answer().await.unwrap_or_else(|| panic!("ended before {kind}: {answers:?}"));
            answers.push(answer);
            if answers.last().unwrap().kind == kind {
                return answers;
            }
        }
    }

    /// The kinds of the messages up to ReadyForQuery.
    async fn kinds(&mut self) -> String {
        self.until('Z').await.iter().map(|answer| answer.kind).collect()
    }

    /// Expects one FATAL error, then the end.
    async fn fatal(&mut self, code: &str) {
        let answer = self.answer().await.expect("an error before the end");
        assert_eq!((answer.kind, answer.field(b'V').as_str(), answer.field(b'C').as_str()), ('E', "FATAL", code));
        assert_eq!(self.answer().await, None);
    }
}

#[tokio::test]
async fn encryption_is_refused_once_each_and_login_goes_on() {
    let server = TestServer::start().await;
    let mut socket = Socket::open(&server).await;
    for code in [80_877_103, 80_877_104] {
        socket.send(&startup(code, b"")).await;
        assert_eq!(socket.0.read_u8().await.unwrap(), b'N');
    }
    socket.send(&startup(V3, LOCAL)).await;
    socket.until('Z').await;

    let mut socket = Socket::open(&server).await;
    socket.send(&startup(80_877_103, b"")).await;
    assert_eq!(socket.0.read_u8().await.unwrap(), b'N');
    socket.send(&startup(80_877_103, b"")).await;
    socket.fatal("08P01").await;
}

#[tokio::test]
async fn bytes_behind_an_encryption_request_kill_the_connection() {
    let server = TestServer::start().await;
    let mut socket = Socket::open(&server).await;
    socket.send(&[startup(80_877_103, b""), startup(V3, LOCAL)].concat()).await;
    socket.fatal("08P01").await;
    assert!(server.database.journal.lock().login.is_none());
}

#[tokio::test]
async fn startup_packets_are_bounded_and_whole() {
    let server = TestServer::start().await;
    for bad in [
        &0x3FFF_FFFF_u32.to_be_bytes()[..],
        &3_u32.to_be_bytes(),
        &startup(V3, b"user"),
        &startup(V3, b"user\0local\0\0more"),
        &startup(V3, b"user\0local\0replication\0tru\0"),
    ] {
        let mut socket = Socket::open(&server).await;
        socket.send(bad).await;
        socket.fatal("08P01").await;
    }
    for (packet, code) in [
        (startup(V3, b"database\0tidemark\0\0"), "28000"),
        (startup(2 << 16, b"\0"), "0A000"),
        (startup(V3, b"user\0local\0replication\0true\0\0"), "0A000"),
        (startup(V3, b"user\0local\0client_encoding\0LATIN1\0\0"), "22023"),
        (startup(V3, b"user\0local\0options\0-x\0\0"), "22023"),
        (startup(V3, b"user\0lo\xFFcal\0\0"), "22021"),
    ] {
        let mut socket = Socket::open(&server).await;
        socket.send(&packet).await;
        socket.fatal(code).await;
    }
}

#[tokio::test]
async fn a_newer_minor_version_is_negotiated_down() {
    let server = TestServer::start().await;
    let mut socket = Socket::open(&server).await;
    socket.send(&startup(V3 + 2, b"user\0local\0database\0tidemark\0_pq_.x\0on\0\0")).await;
    let answers = socket.until('Z').await;
    assert_eq!(answers[0].kind, 'v');
    assert_eq!(answers[0].body, b"\0\0\0\0\0\0\0\x01_pq_.x\0");
}

#[tokio::test]
async fn nothing_but_a_password_is_taken_before_login() {
    let server = TestServer::start().await;
    for message in [frame(b'Q', b"write a\0"), b"p\x3F\xFF\xFF\xFF".to_vec(), frame(b'p', b"PLAIN\0\0\0\0\0")] {
        let mut socket = Socket::open(&server).await;
        socket.send(&startup(V3, b"user\0ada\0database\0tidemark\0\0")).await;
        assert_eq!(socket.answer().await.unwrap().kind, 'R');
        socket.send(&message).await;
        let answer = socket.answer().await.unwrap();
        assert_eq!((answer.kind, answer.field(b'V').as_str()), ('E', "FATAL"));
        assert_eq!(socket.answer().await, None);
    }
    assert!(server.database.journal.lock().committed.is_empty());
}

#[tokio::test]
async fn frames_are_judged_before_they_are_buffered() {
    let settings = ServerSettings { message_bytes_max: 1000, ..ServerSettings::default() };
    let server = TestServer::with_settings(settings).await;
    for (bad, code) in [
        (&b"Q\x3F\xFF\xFF\xFF"[..], "54000"),
        (b"Q\0\0\x04\0", "54000"),
        (b"E\0\0\x30\0", "54000"),
        (b"S\0\0\0\x03", "08P01"),
        (b"!\0\0\0\x04", "08P01"),
        (b"p\0\0\0\x08abcd", "08P01"),
    ] {
        let mut socket = Socket::login(&server).await;
        socket.send(bad).await;
        socket.fatal(code).await;
    }
}

#[tokio::test]
async fn a_broken_body_is_an_error_and_the_connection_lives() {
    let server = TestServer::start().await;
    let mut socket = Socket::login(&server).await;
    for (bad, code) in
        [(frame(b'Q', b"no end"), "08P01"), (frame(b'Q', b"\xFF\xFE\0"), "22021"), (frame(b'F', b"\0\0"), "0A000")]
    {
        socket.send(&bad).await;
        let answers = socket.until('Z').await;
        assert_eq!(answers[0].field(b'C'), code);
    }
    // A Bind that claims 65535 parameters; what follows up to Sync is dropped.
    socket.send(&frame(b'B', b"\0\0\0\0\xFF\xFF")).await;
    socket.send(&frame(b'E', b"\0\0\0\0\0")).await;
    socket.send(&frame(b'S', b"")).await;
    assert_eq!(socket.kinds().await, "EZ");
    socket.send(&frame(b'Q', b"rows 1\0")).await;
    assert_eq!(socket.kinds().await, "TDCZ");
}

#[tokio::test]
async fn a_slow_login_is_cut() {
    let settings = ServerSettings { login_timeout_ms: 50, ..ServerSettings::default() };
    let server = TestServer::with_settings(settings).await;
    let mut socket = Socket::open(&server).await;
    socket.send(b"\0\0").await;
    assert_eq!(socket.answer().await, None);
}

#[tokio::test]
async fn a_wrong_secret_cancels_nothing() {
    let server = TestServer::start().await;
    let mut socket = Socket::open(&server).await;
    socket.send(&startup(V3, LOCAL)).await;
    let answers = socket.until('Z').await;
    let key = answers.iter().find(|answer| answer.kind == 'K').unwrap().body.clone();
    socket.send(&frame(b'Q', b"hang\0")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut wrong = key.clone();
    wrong[7] ^= 1;
    for (body, ends) in [(wrong, false), (key, true)] {
        let mut other = Socket::open(&server).await;
        other.send(&startup(80_877_102, &body)).await;
        assert_eq!(other.answer().await, None);
        let ended = tokio::time::timeout(Duration::from_millis(100), socket.until('Z')).await;
        assert_eq!(ended.is_ok(), ends);
    }
}

/// Parse, Bind, then what is given, then Sync.
fn extended(sql: &[u8], rest: &[Vec<u8>]) -> Vec<u8> {
    let parse = frame(b'P', &[b"\0", sql, b"\0\0\0"].concat());
    let bind = frame(b'B', b"\0\0\0\0\0\0\0\0");
    [parse, bind, rest.concat(), frame(b'S', b"")].concat()
}

fn execute(rows_max: u32) -> Vec<u8> {
    frame(b'E', &[&b"\0"[..], &rows_max.to_be_bytes()].concat())
}

#[tokio::test]
async fn portals_suspend_at_their_limit_and_end() {
    let server = TestServer::start().await;
    let mut socket = Socket::login(&server).await;
    let parts = [execute(2), execute(1), execute(10), execute(10)];
    socket.send(&extended(b"rows 5", &parts)).await;
    let answers = socket.until('Z').await;
    let kinds: String = answers.iter().map(|answer| answer.kind).collect();
    assert_eq!(kinds, "12DDsDsDDCCZ");
    let tags: Vec<_> = answers.iter().filter(|answer| answer.kind == 'C').map(|answer| &answer.body[..]).collect();
    assert_eq!(tags, [&b"SELECT 2\0"[..], b"SELECT 0\0"]);
    eventually_dropped(&server).await;
}

/// What a client leaves open is held for it, until memory is short.
#[tokio::test]
async fn a_suspended_portal_can_be_ended() {
    let server = TestServer::start().await;
    let mut socket = Socket::login(&server).await;
    let flush = frame(b'H', b"");
    let mut begin = extended(b"rows 5", &[execute(2), flush.clone()]);
    begin.truncate(begin.len() - frame(b'S', b"").len());
    socket.send(&begin).await;
    let mut kinds = String::new();
    while !kinds.ends_with('s') {
        kinds.push(socket.answer().await.unwrap().kind);
    }
    assert_eq!(kinds, "12DDs");
    assert!(!server.slow.end_first(Duration::from_secs(3600)), "it has not waited for so long");
    assert!(server.slow.end_first(Duration::ZERO));
    eventually_dropped(&server).await;
    socket.send(&[execute(2), frame(b'S', b"")].concat()).await;
    let answers = socket.until('Z').await;
    assert_eq!((answers[0].kind, answers[0].field(b'C').as_str()), ('E', "53400"));
    // One that goes on in time is not ended.
    socket.send(&begin).await;
    while socket.answer().await.unwrap().kind != 's' {}
    socket.send(&[execute(10), frame(b'S', b"")].concat()).await;
    assert_eq!(socket.kinds().await, "DDDCZ");
    assert!(!server.slow.end_first(Duration::ZERO));
}

async fn eventually_dropped(server: &TestServer) {
    for _ in 0..200 {
        if server.database.journal.lock().streams_dropped == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the portal's stream is held");
}

#[tokio::test]
async fn a_pipeline_is_one_transaction_and_a_single_statement_needs_none() {
    let server = TestServer::start().await;
    let mut socket = Socket::login(&server).await;
    socket.send(&extended(b"write a", &[execute(0), frame(b'C', b"P\0")])).await;
    assert_eq!(socket.kinds().await, "12C3Z");
    assert_eq!(server.database.journal.lock().implicit_begun, 0);
    assert_eq!(server.database.journal.lock().committed, ["a"]);

    let write = |sql: &[u8]| {
        [frame(b'P', &[b"\0", sql, b"\0\0\0"].concat()), frame(b'B', b"\0\0\0\0\0\0\0\0"), execute(0)].concat()
    };
    socket.send(&[write(b"write b"), write(b"fail"), write(b"write c"), frame(b'S', b"")].concat()).await;
    assert_eq!(socket.kinds().await, "12C12EZ");
    assert_eq!(server.database.journal.lock().committed, ["a"]);
    socket.send(&[write(b"write b"), write(b"write c"), frame(b'S', b"")].concat()).await;
    assert_eq!(socket.kinds().await, "12C12CZ");
    assert_eq!(server.database.journal.lock().committed, ["a", "b", "c"]);
}

#[tokio::test]
async fn names_that_do_not_exist_and_names_that_do() {
    let server = TestServer::start().await;
    let mut socket = Socket::login(&server).await;
    let sync = frame(b'S', b"");
    let parse = frame(b'P', b"s\0rows 1\0\0\0");
    let bind = frame(b'B', b"p\0s\0\0\0\0\0\0\0");
    for (messages, code) in [
        (vec![frame(b'B', b"\0x\0\0\0\0\0\0\0")], "26000"),
        (vec![frame(b'E', b"x\0\0\0\0\0")], "34000"),
        (vec![frame(b'D', b"Px\0")], "34000"),
        (vec![frame(b'D', b"Sx\0")], "26000"),
        (vec![parse.clone(), parse.clone()], "42P05"),
        (vec![bind.clone(), bind.clone()], "42P03"),
        (vec![frame(b'B', b"\0s\0\0\0\0\x01\0\0\0\x011\0\0")], "08P01"),
        (vec![frame(b'B', b"\0s\0\0\0\0\0\0\x01\0\x07")], "08P01"),
        (vec![frame(b'P', b"\0echo int4\0\0\x01\0\0\x03\x84")], "0A000"),
    ] {
        socket.send(&[messages.concat(), sync.clone()].concat()).await;
        let answers = socket.until('Z').await;
        let error = answers.iter().find(|answer| answer.kind == 'E').expect("an error");
        assert_eq!((error.field(b'C').as_str(), error.field(b'V').as_str()), (code, "ERROR"));
    }
    // Closing what does not exist is no error.
    socket.send(&[frame(b'C', b"Sx\0"), frame(b'C', b"Ss\0"), parse, sync].concat()).await;
    assert_eq!(socket.kinds().await, "331Z");
}

#[tokio::test]
async fn describe_names_parameters_and_columns() {
    let server = TestServer::start().await;
    let mut socket = Socket::login(&server).await;
    // The first parameter is declared as oid (26), the second inferred.
    let parse = frame(b'P', b"s\0echo int8 text\0\0\x01\0\0\0\x1a");
    socket.send(&[parse, frame(b'D', b"Ss\0"), frame(b'S', b"")].concat()).await;
    let answers = socket.until('Z').await;
    assert_eq!(answers[1].body, b"\0\x02\0\0\0\x1a\0\0\0\x19");
    assert_eq!(answers[2].kind, 'T');
    // Its binary form has four bytes then.
    let bind = frame(b'B', b"\0s\0\0\x02\0\x01\0\0\0\x02\0\0\0\x04\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0");
    socket.send(&[bind, execute(0), frame(b'S', b"")].concat()).await;
    let answers = socket.until('Z').await;
    assert_eq!(answers[1].body, b"\0\x02\0\0\0\x0a4294967295\xFF\xFF\xFF\xFF");
}

#[tokio::test]
async fn an_empty_statement_and_a_statement_that_ran() {
    let server = TestServer::start().await;
    let mut socket = Socket::login(&server).await;
    socket.send(&extended(b"", &[frame(b'D', b"P\0"), execute(0)])).await;
    assert_eq!(socket.kinds().await, "12nIZ");
    socket.send(&extended(b"write a", &[execute(0), execute(0)])).await;
    let answers = socket.until('Z').await;
    assert_eq!(answers[3].field(b'C'), "55000");
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_copy_drops_the_sink() {
    let server = TestServer::start().await;
    let mut socket = Socket::login(&server).await;
    socket.send(&frame(b'Q', b"copyin\0")).await;
    let answer = socket.answer().await.unwrap();
    assert_eq!((answer.kind, &answer.body[..]), ('G', &b"\0\0\x02\0\0\0\0"[..]));
    socket.send(&frame(b'd', b"a\t1\n")).await;
    drop(socket);
    for _ in 0..200 {
        if server.database.journal.lock().sinks_dropped == 1 {
            assert!(server.database.journal.lock().copied.is_empty());
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the sink is held");
}

#[tokio::test]
async fn copy_messages_outside_of_copy_are_dropped_and_others_inside_refused() {
    let server = TestServer::start().await;
    let mut socket = Socket::login(&server).await;
    socket.send(&[frame(b'd', b"x"), frame(b'c', b""), frame(b'f', b"no\0"), frame(b'Q', b"rows 1\0")].concat()).await;
    assert_eq!(socket.kinds().await, "TDCZ");
    socket.send(&[frame(b'Q', b"copyin\0"), frame(b'Q', b"rows 1\0")].concat()).await;
    assert_eq!(socket.kinds().await, "GEZ");
    // Extended: a Sync sent along with Execute is passed over; the one behind CopyDone counts.
    socket.send(&extended(b"copyin", &[execute(0)])).await;
    socket.send(&[frame(b'd', b"a\n"), frame(b'c', b""), frame(b'S', b"")].concat()).await;
    assert_eq!(socket.kinds().await, "12GCZ");
    assert_eq!(server.database.journal.lock().copied, b"a\n");
}

#[tokio::test]
async fn a_changed_setting_is_reported_before_ready() {
    let server = TestServer::start().await;
    let mut socket = Socket::login(&server).await;
    socket.send(&frame(b'Q', b"zone Asia/Tokyo\0")).await;
    let answers = socket.until('Z').await;
    assert_eq!(answers[1].body, b"TimeZone\0Asia/Tokyo\0");
}

#[tokio::test]
async fn a_frame_may_arrive_byte_by_byte() {
    let server = TestServer::start().await;
    let mut socket = Socket::login(&server).await;
    for byte in frame(b'Q', b"rows 1\0") {
        socket.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(socket.kinds().await, "TDCZ");
}

/// Where memory is short: what it has been sent already comes before the error, and it may go on.
#[tokio::test]
async fn a_client_that_does_not_read_can_be_ended() {
    let server = TestServer::start().await;
    let mut socket = Socket::login(&server).await;
    socket.send(&frame(b'Q', b"endless \0")).await;
    let ended = async {
        while !server.slow.end_first(Duration::from_millis(50)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await.expect("it never waits for its client");
    let answers = socket.until('Z').await;
    let [.., error, _] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((error.kind, error.field(b'S').as_str(), error.field(b'C').as_str()), ('E', "ERROR", "53400"));
    assert!(answers[1..answers.len() - 2].iter().all(|answer| answer.kind == 'D'));
    socket.send(&frame(b'Q', b"rows 3\0")).await;
    assert_eq!(socket.kinds().await, "TDDDCZ");
    assert!(!server.slow.end_first(Duration::ZERO));
}
