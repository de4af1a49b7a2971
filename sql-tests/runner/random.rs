//! Views of random typed SQL over random histories: at every commit a view holds what its query says ad hoc, and one with EMIT ON
//! WINDOW CLOSE what a query says that computes from the rows which of them were late, and which windows are closed.
//!
//! ```text
//! seed -> tables, rows -> queries, each a view -> a history of commits, a restart in it -> every view compared at every commit
//! ```
//!
//! A query that the server refuses as a view by name is counted. A failure is shown as a script, made shorter by leaving
//! statements of the history out as long as it fails.
//!
//! ```sh
//! cargo test --test sql -- random::                                         # the fixed seed
//! TIDEMARK_RANDOM_CASES=2000 TIDEMARK_RANDOM_SEED=7 cargo test --test sql -- random::   # any number, any seed
//! ```

mod calls;
mod chance;
mod history;
mod query;
mod relations;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::pin::pin;
use std::time::Duration;

use futures::{StreamExt, stream};

use crate::answer::{Answer, Refusal, compare_bags};
use crate::client::Client;
use crate::host::{Host, Run};

use chance::Chance;
use history::{CREATE_TABLES, History};
use query::{Generator, Query, features};

/// Where the seeds of the rounds begin.
const SEED: u64 = 20_261_126;
/// Views.
const CASES: u64 = 2000;
const CASES_PER_ROUND: u64 = 8;
/// A round waits for its server, and for the disk.
const ROUNDS_AT_ONCE: usize = 2;
const COMMITS_PER_ROUND: usize = 6;
/// So that the tables hold a few rows each.
const STATEMENTS_BEFORE: usize = 40;
/// Two thousand cases take a few minutes.
const SECONDS_PER_CASE_MAX: u64 = 2;
/// What takes longer ad hoc is counted as refused.
const AD_HOC_TIMEOUT: &str = "60s";
/// More are not looked for.
const FAILURES_MAX: usize = 8;
/// Runs that make a failure's script shorter.
const SHORTER_MAX: usize = 24;

/// The one refusal of a query that works as a view.
const WINDOWS_IN_SEVERAL_ORDERS: &str = "window functions stand over others in several orders";
/// Lists of whole partitions for each row were more than fits.
const TOO_MUCH_TOGETHER: &str = "a window function puts more together";
/// The largest share of queries that may be refused.
const REFUSED_PERCENT_MAX: u64 = 5;
/// The largest share of answers without a row.
const EMPTY_PERCENT_MAX: u64 = 20;
/// Each feature must be in one of so many cases at least.
const CASES_PER_FEATURE_MAX: u64 = 100;

/// How long [`run`] may take.
pub fn timeout() -> Duration {
    Duration::from_secs(variable("TIDEMARK_RANDOM_CASES", CASES).saturating_mul(SECONDS_PER_CASE_MAX).max(600))
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What was tried.
#[derive(Default)]
struct Tally {
    cases: u64,
    refused: BTreeMap<String, u64>,
    empty: u64,
    compared: u64,
    raised: u64,
    features: BTreeMap<&'static str, u64>,
}

/// One server's life: statements before the views, the views, the history.
#[derive(Clone)]
struct Round {
    seed: u64,
    before: Vec<String>,
    /// By the numbers of their views.
    queries: Vec<(usize, Query)>,
    history: Vec<String>,
    /// Before this statement of the history the server is killed and started again.
    restart_at: usize,
}

pub async fn run() -> Result<(), String> {
    let (cases, seed) = (variable("TIDEMARK_RANDOM_CASES", CASES), variable("TIDEMARK_RANDOM_SEED", SEED));
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    let rounds = (0..cases.div_ceil(CASES_PER_ROUND)).map(|number| async move {
        let (round, mut tally) = (Round::new(seed.wrapping_add(number)), Tally::default());
        let outcome = round.run(&mut tally).await;
        (round, tally, outcome)
    });
    let mut rounds = pin!(stream::iter(rounds).buffered(ROUNDS_AT_ONCE));
    while let Some((round, tried, outcome)) = rounds.next().await {
        tally.merge(tried);
        if let Err(failure) = outcome {
            failures.push(shortest(round, failure).await);
        }
        if failures.len() == FAILURES_MAX {
            break;
        }
    }
    println!("{}", tally.text(seed));
    match failures.is_empty() {
        true => tally.check(),
        false => Err(failures.join("\n")),
    }
}

/// Whether every feature is drawn often enough, without a server.
pub fn draw() -> Result<(), String> {
    let (cases, seed) = (variable("TIDEMARK_RANDOM_CASES", CASES), variable("TIDEMARK_RANDOM_SEED", SEED));
    let mut tally = Tally::default();
    for number in 0..cases.div_ceil(CASES_PER_ROUND) {
        Round::new(seed.wrapping_add(number)).queries.iter().for_each(|(_, query)| tally.add(query));
    }
    println!("{}", tally.text(seed));
    tally.check()
}

impl Round {
    fn new(seed: u64) -> Round {
        let mut chance = Chance::new(seed);
        let mut history = History::default();
        let before = (0..STATEMENTS_BEFORE).flat_map(|_| history.statement(&mut chance)).collect();
        let (mut queries, mut views) = (Vec::new(), Vec::new());
        for number in 0..CASES_PER_ROUND as usize {
            let query = Generator::new(&mut chance, &views).query();
            // Of joins over joins there would be too many rows.
            if query.reads.is_empty() && !query.features.iter().any(|feature| feature.ends_with("join")) {
                views.push((number, query.types.clone()));
            }
            queries.push((number, query));
        }
        let history: Vec<String> = (0..COMMITS_PER_ROUND).flat_map(|_| history.statement(&mut chance)).collect();
        let restart_at = chance.below(history.len() * 2);
        Round { seed, before, queries, history, restart_at }
    }

    async fn run(&self, tally: &mut Tally) -> Result<(), String> {
        let run = Run {
            step_cuts_seed: self.seed | 1,
            keeps_history: self.seed.is_multiple_of(2),
            evicts_state: self.seed % 3 == 1,
        };
        let mut host = Host::start(run).await?;
        let outcome = self.run_on(&mut host, tally).await;
        host.stop().await?;
        outcome
    }

    async fn run_on(&self, host: &mut Host, tally: &mut Tally) -> Result<(), String> {
        let mut clients = Clients::connect(host).await?;
        for statement in CREATE_TABLES.iter().copied().chain(self.before.iter().map(String::as_str)) {
            change(&clients.views, statement).await?;
        }
        let mut alive = Vec::new();
        for (number, query) in &self.queries {
            if query.reads.iter().any(|read| !alive.iter().any(|(number, _)| number == read)) {
                continue;
            }
            tally.add(query);
            match clients.views.run(&format!("CREATE MATERIALIZED VIEW v{number} AS {}", query.sql)).await {
                Ok(_) => alive.push((*number, query)),
                Err(refusal) if ["0A000", "53200"].contains(&refusal.code.as_str()) => {
                    tally.refuse("as a view", &refusal);
                }
                Err(refusal) => {
                    return Err(format!("CREATE MATERIALIZED VIEW v{number} AS {}\n{}", query.sql, refusal.text));
                }
            }
        }
        for (number, query) in &alive {
            compare(&clients, *number, query, tally).await?;
        }
        for (place, statement) in self.history.iter().enumerate() {
            if place == self.restart_at {
                drop(clients);
                host.crash_and_start().await?;
                clients = Clients::connect(host).await?;
            }
            change(&clients.views, statement).await?;
            for (number, query) in &alive {
                compare(&clients, *number, query, tally).await?;
            }
        }
        Ok(())
    }

    fn script(&self) -> String {
        let mut script = format!("-- seed {}\n", self.seed);
        let statements = CREATE_TABLES.iter().copied().chain(self.before.iter().map(String::as_str));
        for statement in statements {
            let _ = writeln!(script, "{statement};");
        }
        for (number, query) in &self.queries {
            let _ = writeln!(script, "CREATE MATERIALIZED VIEW v{number} AS {};", query.sql);
        }
        for (place, statement) in self.history.iter().enumerate() {
            if place == self.restart_at {
                script.push_str("-- killed, and started again\n");
            }
            let _ = writeln!(script, "{statement};");
        }
        script
    }
}

struct Clients {
    /// Changes tables and reads views, however long that takes.
    views: Client,
    /// Asks the queries themselves, for [`AD_HOC_TIMEOUT`] at most.
    ad_hoc: Client,
}

impl Clients {
    async fn connect(host: &Host) -> Result<Clients, String> {
        let config = host.config()?;
        let views = Client::connect(&config, None).await.map_err(text)?;
        let ad_hoc = Client::connect(&config, None).await.map_err(text)?;
        ad_hoc.run(&format!("SET statement_timeout = '{AD_HOC_TIMEOUT}'")).await.map_err(text)?;
        Ok(Clients { views, ad_hoc })
    }
}

/// A change that violates a key or a range changes nothing.
async fn change(client: &Client, statement: &str) -> Result<(), String> {
    match client.run(statement).await {
        Err(refusal) if !["23505", "22003"].contains(&refusal.code.as_str()) => {
            Err(format!("{statement}\n{}", refusal.text))
        }
        _ => Ok(()),
    }
}

async fn compare(clients: &Clients, number: usize, query: &Query, tally: &mut Tally) -> Result<(), String> {
    let content = match rows(&clients.views, &format!("SELECT * FROM v{number}")).await {
        Err(refusal) if refusal.code == "55000" && refusal.text.contains(TOO_MUCH_TOGETHER) => {
            tally.refuse("as a view later", &refusal);
            return Ok(());
        }
        content => content.map_err(text)?,
    };
    match rows(&clients.ad_hoc, &query.ad_hoc).await {
        Ok(expected) => {
            tally.compared += 1;
            tally.empty += u64::from(expected.is_empty());
            compare_bags(&expected, &content)
                .map_err(|difference| format!("v{number}: {}\nexpected: {}\n{difference}", query.sql, query.ad_hoc))
        }
        // The view leaves out what raises ad hoc.
        Err(refusal) if ["22", "21"].iter().any(|class| refusal.code.starts_with(class)) => {
            tally.raised += 1;
            Ok(())
        }
        // What works as a view alone is counted for each commit; of what is refused ad hoc, this is known, and that a window over
        // every pair of many rows is sorted in memory, or takes too long.
        Err(refusal)
            if ["53200", "57014"].contains(&refusal.code.as_str())
                || refusal.code == "0A000" && refusal.text.contains(WINDOWS_IN_SEVERAL_ORDERS) =>
        {
            tally.refuse("ad hoc", &refusal);
            Ok(())
        }
        Err(refusal) => Err(format!("ad hoc: {}\n{}", query.ad_hoc, refusal.text)),
    }
}

async fn rows(client: &Client, sql: &str) -> Result<Vec<String>, Refusal> {
    match client.run(sql).await? {
        Answer::Rows { lines, .. } => Ok(lines),
        Answer::Done { .. } => Ok(Vec::new()),
    }
}

fn text(refusal: Refusal) -> String {
    refusal.text
}

/// The failure's script without queries and statements that it does not need.
async fn shortest(mut round: Round, mut failure: String) -> String {
    let mut runs = 0;
    let mut try_round = async |candidate: &Round| match runs < SHORTER_MAX {
        true => {
            runs += 1;
            candidate.run(&mut Tally::default()).await.err()
        }
        false => None,
    };
    for (number, query) in round.queries.clone() {
        let mut queries = round.queries.clone();
        queries.retain(|(other, _)| *other == number || query.reads.contains(other));
        let candidate = Round { queries, ..round.clone() };
        if let Some(found) = try_round(&candidate).await {
            (round, failure) = (candidate, found);
            break;
        }
    }
    for place in (0..round.history.len()).rev() {
        let mut candidate = round.clone();
        candidate.history.remove(place);
        candidate.restart_at = candidate.restart_at.saturating_sub(usize::from(place < candidate.restart_at));
        if let Some(found) = try_round(&candidate).await {
            (round, failure) = (candidate, found);
        }
    }
    format!("{failure}\n\n{}", round.script())
}

impl Tally {
    fn add(&mut self, query: &Query) {
        self.cases += 1;
        query.features.iter().for_each(|feature| *self.features.entry(feature).or_default() += 1);
    }

    fn merge(&mut self, other: Tally) {
        let Tally { cases, refused, empty, compared, raised, features } = other;
        self.cases += cases;
        self.empty += empty;
        self.compared += compared;
        self.raised += raised;
        refused.into_iter().for_each(|(line, count)| *self.refused.entry(line).or_default() += count);
        features.into_iter().for_each(|(feature, count)| *self.features.entry(feature).or_default() += count);
    }

    fn refuse(&mut self, place: &str, refusal: &Refusal) {
        let line = refusal.text.lines().next().unwrap_or_default();
        *self.refused.entry(format!("{place}: {line}")).or_default() += 1;
    }

    /// Whether enough was tried and enough of it says something.
    fn check(&self) -> Result<(), String> {
        let refused: u64 = self.refused.values().sum();
        if refused * 100 > self.cases * REFUSED_PERCENT_MAX {
            return Err(format!("{refused} of {} queries were refused:\n{:#?}", self.cases, self.refused));
        }
        if self.empty * 100 > self.compared * EMPTY_PERCENT_MAX {
            return Err(format!("{} of {} answers had no row", self.empty, self.compared));
        }
        let count = |feature: &&str| self.features.get(feature).copied().unwrap_or_default();
        let rare: Vec<&str> =
            features().filter(|feature| count(feature) < self.cases / CASES_PER_FEATURE_MAX).collect();
        match rare.is_empty() {
            true => Ok(()),
            false => Err(format!("tried less often than once in {CASES_PER_FEATURE_MAX} cases: {}", rare.join(", "))),
        }
    }

    fn text(&self, seed: u64) -> String {
        let refused: u64 = self.refused.values().sum();
        let percent = |part: u64, whole: u64| part * 100 / whole.max(1);
        let mut text = format!(
            "random views: seed {seed}, {} cases, {refused} refused ({} %), {} comparisons, {} of them of no row ({} %), {} raised ad hoc\n",
            self.cases,
            percent(refused, self.cases),
            self.compared,
            self.empty,
            percent(self.empty, self.compared),
            self.raised,
        );
        for (line, count) in &self.refused {
            let _ = writeln!(text, "  refused {count}: {line}");
        }
        let features: Vec<String> = self.features.iter().map(|(feature, count)| format!("{feature} {count}")).collect();
        let _ = writeln!(text, "  cases by feature: {}", features.join(", "));
        text
    }
}
