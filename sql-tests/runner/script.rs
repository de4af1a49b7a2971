//! Runs one golden in one mode: the records in order, on the connections that they name.

use std::collections::HashMap;

use sqllogictest::{
    Condition, Connection, DefaultColumnType, ExpectedError, Location, QueryExpect, Record, SortMode, StatementExpect,
};

use crate::answer::{ANY, Answer, Refusal, compare};
use crate::client::Client;
use crate::drip::{self, Drip};
use crate::golden::{Golden, Mode};
use crate::host::{Host, Run};
use crate::report::Report;
use crate::views::Views;
use crate::wire::{Protocol, compare_protocols};

type GoldenRecord = Record<DefaultColumnType>;

/// The connection of the mode's own statements (FLUSH, the views); a golden cannot name it.
const OWN: &str = "the runner";

/// Returns the file's new text if answers are to be put into it.
pub async fn run(golden: &Golden, mode: Mode, report: &Report) -> Result<Option<String>, String> {
    if mode != Mode::Wire {
        let (records, _) = run_once(golden, mode, None, report).await?;
        return Ok(crate::rewrites().then(|| unparse(&records)));
    }
    let mut seen = Vec::new();
    for protocol in Protocol::ALL {
        let once = run_once(golden, mode, Some(protocol), report).await;
        seen.push((protocol, once.map_err(|message| format!("{message}\nprotocol: {}", protocol.name()))?.1));
    }
    compare_protocols(&seen)?;
    Ok(None)
}

/// On a server of its own. Gives the records with the answers, and what a bare socket saw.
async fn run_once(
    golden: &Golden,
    mode: Mode,
    protocol: Option<Protocol>,
    report: &Report,
) -> Result<(Vec<GoldenRecord>, Vec<String>), String> {
    let mut script = Script::start(golden, mode, protocol, report).await?;
    let outcome = script.all().await;
    script.sessions.clear();
    let stopped = script.host.stop().await;
    let records = outcome?;
    stopped?;
    // Times differ from server to server.
    let times = script.remembered.iter().filter(|(name, _)| name.contains("time of"));
    let timeless = |text: &String| times.clone().fold(text.clone(), |text, (name, time)| text.replace(time, name));
    let seen = script.seen.iter().map(timeless).collect();
    Ok((records, seen))
}

struct Script<'a> {
    golden: &'a Golden,
    mode: Mode,
    report: &'a Report,
    host: Host,
    sessions: HashMap<Connection, Session>,
    /// SET and RESET of each connection, said again after a restart.
    settings: HashMap<Connection, Vec<String>>,
    views: Views,
    drip: Drip,
    /// What `${name}` stands for in statements.
    remembered: Vec<(String, String)>,
    /// Mode `wire`: how statements are sent, and what came back.
    protocol: Option<Protocol>,
    seen: Vec<String>,
}

struct Session {
    client: Client,
    in_transaction: bool,
}

impl<'a> Script<'a> {
    async fn start(
        golden: &'a Golden,
        mode: Mode,
        protocol: Option<Protocol>,
        report: &'a Report,
    ) -> Result<Script<'a>, String> {
        let is_drip = mode == Mode::Drip;
        let run = Run {
            step_cuts_seed: if is_drip { drip::seed_of(&golden.name) } else { 0 },
            keeps_history: golden.keeps_history || keeps_history_besides(golden, mode),
            evicts_state: is_drip && drip::seed_of(&golden.name) % 4 > 1,
        };
        Ok(Script {
            golden,
            mode,
            report,
            host: Host::start(run).await?,
            sessions: HashMap::new(),
            settings: HashMap::new(),
            views: Views::default(),
            drip: Drip::new(&golden.name, &golden.text),
            remembered: Vec::new(),
            protocol,
            seen: Vec::new(),
        })
    }

    async fn all(&mut self) -> Result<Vec<GoldenRecord>, String> {
        let golden = self.golden;
        let mut records = golden.records.clone();
        for record in &mut records {
            match record {
                Record::Statement { loc, conditions, connection, sql, expected, .. } => {
                    if !self.skips(conditions) {
                        let sql = &self.remembering(sql);
                        self.statement(connection, sql, expected).await.map_err(|message| at(loc, sql, &message))?;
                    }
                }
                Record::Query { loc, conditions, connection, sql, expected, .. } => {
                    if !self.skips(conditions) {
                        let sql = &self.remembering(sql);
                        self.query(connection, sql, expected).await.map_err(|message| at(loc, sql, &message))?;
                    }
                }
                Record::System { loc, conditions, command, .. } => {
                    if !self.skips(conditions) {
                        self.switch(command).await.map_err(|message| at(loc, command, &message))?;
                    }
                }
                Record::Halt { .. } => break,
                Record::Comment(_)
                | Record::Newline
                | Record::Condition(_)
                | Record::Connection(_)
                | Record::Subtest { .. } => {}
                other => return Err(format!("{}: not a record of these goldens: {other}", golden.name)),
            }
        }
        if self.mode.makes_views() {
            self.finish_views().await?;
        }
        Ok(records)
    }

    /// `onlyif` and `skipif` name the server (tidemark, postgres) or the mode.
    fn skips(&self, conditions: &[Condition]) -> bool {
        let labels = [self.host.label(), self.mode.name()];
        conditions.iter().any(|condition| match condition {
            Condition::OnlyIf { label } => !labels.contains(&label.as_str()),
            Condition::SkipIf { label } => labels.contains(&label.as_str()),
        })
    }

    /// `system ok` records pull the server's test switches, and remember what statements say of commits.
    async fn switch(&mut self, command: &str) -> Result<(), String> {
        if let Some(name) = command.strip_prefix("remember the last commit as ") {
            let (commit, time) = self.host.last_commit()?;
            let name = name.trim();
            self.remembered.push((format!("${{{name}}}"), commit.to_string()));
            self.remembered.push((format!("${{time of {name}}}"), time));
            return Ok(());
        }
        match command.strip_prefix("plant a wrong row into ") {
            Some(view) => self.host.plant_wrong_row(view.trim()).await,
            None => Err("the switches are: plant a wrong row into VIEW, remember the last commit as NAME".to_owned()),
        }
    }

    fn remembering(&self, sql: &str) -> String {
        self.remembered.iter().fold(sql.to_owned(), |sql, (name, value)| sql.replace(name, value))
    }

    async fn statement(
        &mut self,
        connection: &Connection,
        sql: &str,
        expected: &mut StatementExpect,
    ) -> Result<(), String> {
        let answer = match drip::Insert::of(sql) {
            Some(insert) if self.drips(connection, expected) => {
                self.connect(connection).await?;
                let Some(session) = self.sessions.get(connection) else { return Err("no session".to_owned()) };
                self.drip.insert(&session.client, insert, self.report).await
            }
            _ => self.execute(connection, sql, None).await?,
        };
        match (answer, expected) {
            (Ok(_), StatementExpect::Ok) => Ok(()),
            (Ok(answer), StatementExpect::Count(count)) => {
                let rows = match answer {
                    Answer::Rows { lines, .. } => lines.len() as u64,
                    Answer::Done { rows } => rows,
                };
                if crate::rewrites() {
                    *count = rows;
                }
                if rows == *count { Ok(()) } else { Err(format!("expected {count} rows, got {rows}")) }
            }
            (Ok(_), StatementExpect::Error(expected)) => Err(format!("expected an error: {expected}")),
            (Err(refusal), StatementExpect::Error(expected)) => compare_error(expected, &refusal),
            (Err(refusal), _) => Err(refusal.text),
        }
    }

    /// A transaction is one commit, and a refused INSERT is refused as a whole.
    fn drips(&self, connection: &Connection, expected: &StatementExpect) -> bool {
        let refused = matches!(expected, StatementExpect::Error(_));
        self.mode == Mode::Drip && !refused && !self.in_transaction(connection)
    }

    async fn query(
        &mut self,
        connection: &Connection,
        sql: &str,
        expected: &mut QueryExpect<DefaultColumnType>,
    ) -> Result<(), String> {
        let sort = match expected {
            QueryExpect::Results { sort_mode, .. } => *sort_mode,
            QueryExpect::Error(_) => None,
        };
        let seen_before = self.seen.len();
        let answer = self.execute(connection, sql, sort).await?;
        if matches!(&*expected, QueryExpect::Results { results, .. } if results.iter().any(|line| line.contains(ANY))) {
            // What differs from run to run differs from protocol to protocol.
            self.seen.truncate(seen_before);
        }
        let (types, sort_mode, results) = match expected {
            QueryExpect::Results { types, sort_mode, results, .. } => (types, *sort_mode, results),
            QueryExpect::Error(expected) => {
                return match answer {
                    Ok(_) => Err(format!("expected an error: {expected}")),
                    Err(refusal) => compare_error(expected, &refusal),
                };
            }
        };
        let Answer::Rows { columns, lines } = answer.map_err(|refusal| refusal.text)? else {
            return Err("expected rows, got a command tag".to_owned());
        };
        if columns != types.len() {
            return Err(format!("expected {} columns, got {columns}", types.len()));
        }
        if crate::rewrites() {
            *results = lines;
            if sort_mode == Some(sqllogictest::SortMode::RowSort) {
                results.sort();
            }
            return Ok(());
        }
        compare(results, &lines, sort_mode)?;
        if self.mode.makes_views() && is_select(sql) && !self.in_transaction(connection) {
            // On the golden's own connection: the view is made, and shown, under its settings.
            if let Some(session) = self.sessions.get(connection) {
                self.views.check(&session.client, sql, results, self.golden.view_required, self.report).await?;
            }
        }
        Ok(())
    }

    /// The mode's circumstances, then the statement. The outer error is a failure of the circumstances.
    async fn execute(
        &mut self,
        connection: &Connection,
        sql: &str,
        sort: Option<SortMode>,
    ) -> Result<Result<Answer, Refusal>, String> {
        match self.mode {
            Mode::Batch | Mode::Wire => {}
            Mode::View | Mode::Drip => {
                if changes_definitions(sql) {
                    self.finish_views().await?;
                }
            }
            Mode::Restart => self.restart().await?,
            Mode::Tier => {
                if reads_or_changes_rows(sql) && !self.in_transaction(connection) {
                    self.own_session().await?;
                    self.sessions[&own()].client.run("FLUSH").await.map_err(|refusal| refusal.text)?;
                }
            }
        }
        self.connect(connection).await?;
        let Some(session) = self.sessions.get_mut(connection) else { return Err("no session".to_owned()) };
        let answer = session.client.run_sorted(sql, sort).await;
        session.note(sql, answer.is_ok());
        let mut seen = session.client.take_seen().await;
        if first_word(sql) == "EXPLAIN" {
            // Times and sizes.
            seen.clear();
        }
        self.seen.extend(seen.into_iter().map(|line| format!("{line}, after {}", sql.lines().next().unwrap_or(sql))));
        let by_library = matches!(session.client, Client::Library(_));
        if by_library && answer.is_err() && first_word(sql) == "COPY" && !session.in_transaction {
            // tokio-postgres sends CopyFail and Sync even if the COPY never began, and then sees one ReadyForQuery too many.
            self.sessions.remove(connection);
            return Ok(answer);
        }
        if answer.is_ok() && is_setting(sql) && !session.in_transaction {
            self.settings.entry(connection.clone()).or_default().push(sql.to_owned());
        }
        Ok(answer)
    }

    /// An open transaction would be lost, rightly; the goldens of transactions prove that elsewhere.
    async fn restart(&mut self) -> Result<(), String> {
        if self.sessions.is_empty() || self.sessions.values().any(|session| session.in_transaction) {
            return Ok(());
        }
        self.sessions.clear();
        self.host.crash_and_start().await
    }

    async fn finish_views(&mut self) -> Result<(), String> {
        self.own_session().await?;
        self.views.finish(&self.sessions[&own()].client).await
    }

    async fn own_session(&mut self) -> Result<(), String> {
        self.connect(&own()).await
    }

    async fn connect(&mut self, connection: &Connection) -> Result<(), String> {
        if self.sessions.contains_key(connection) {
            return Ok(());
        }
        let client = Client::connect(&self.host.config()?, self.protocol).await.map_err(|refusal| refusal.text)?;
        for setting in self.settings.get(connection).into_iter().flatten() {
            client.run(setting).await.map_err(|refusal| refusal.text)?;
        }
        self.sessions.insert(connection.clone(), Session { client, in_transaction: false });
        Ok(())
    }

    fn in_transaction(&self, connection: &Connection) -> bool {
        self.sessions.get(connection).is_some_and(|session| session.in_transaction)
    }
}

impl Session {
    fn note(&mut self, sql: &str, succeeded: bool) {
        match first_word(sql).as_str() {
            "BEGIN" | "START" if succeeded => self.in_transaction = true,
            "ROLLBACK" if goes_back_to_savepoint(sql) => {}
            "COMMIT" | "END" | "ROLLBACK" | "ABORT" => self.in_transaction = false,
            _ => {}
        }
    }
}

/// `ROLLBACK TO name`, which ends no transaction.
fn goes_back_to_savepoint(sql: &str) -> bool {
    sql.split_whitespace().any(|word| word.eq_ignore_ascii_case("to"))
}

fn own() -> Connection {
    Connection::Named(OWN.to_owned())
}

/// Whether a view that reads what is changed would be in the way.
fn changes_definitions(sql: &str) -> bool {
    let mut words = sql.split_whitespace().map(str::to_ascii_uppercase);
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    matches!(first.as_str(), "DROP" | "ALTER") || first == "CREATE" && second == "OR"
}

fn first_word(sql: &str) -> String {
    let word: String = sql.trim_start().chars().take_while(|letter| letter.is_ascii_alphabetic()).collect();
    word.to_ascii_uppercase()
}

fn is_select(sql: &str) -> bool {
    matches!(first_word(sql).as_str(), "SELECT" | "WITH")
}

fn is_setting(sql: &str) -> bool {
    matches!(first_word(sql).as_str(), "SET" | "RESET")
}

fn reads_or_changes_rows(sql: &str) -> bool {
    matches!(
        first_word(sql).as_str(),
        "SELECT" | "WITH" | "TABLE" | "INSERT" | "UPDATE" | "DELETE" | "COPY" | "VERIFY" | "EXPLAIN"
    )
}

fn compare_error(expected: &mut ExpectedError, refusal: &Refusal) -> Result<(), String> {
    if expected.is_match(&refusal.text) {
        return Ok(());
    }
    if crate::rewrites() {
        *expected = ExpectedError::from_actual_error(Some(expected), &refusal.text);
        return Ok(());
    }
    Err(format!("expected the error: {expected}\ngot: {}", refusal.text))
}

fn at(location: &Location, sql: &str, message: &str) -> String {
    format!("sql-tests/{location}\n{sql}\n{message}")
}

fn unparse(records: &[GoldenRecord]) -> String {
    let text: String = records.iter().map(|record| format!("{record}\n")).collect();
    format!("{}\n", text.trim_end())
}

/// Half of the files run with history in the modes where it changes what is written, so that keeping it changes no answer.
fn keeps_history_besides(golden: &Golden, mode: Mode) -> bool {
    matches!(mode, Mode::Tier | Mode::Restart) && drip::seed_of(&golden.name) % 2 == 1
}
