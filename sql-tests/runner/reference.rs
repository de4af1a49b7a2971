//! The reference pages, printed from the declarations in the code.
//!
//! Each page is one trial: it fails when `docs/reference/` has another text than the declarations give, and puts the
//! text there under `TIDEMARK_REWRITE=1`. A declaration without its sentence fails the trial too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::Documentation;
use datafusion::prelude::SessionConfig;
use tidemark::error::SqlState;
use tidemark::functions;
use tidemark::server::http::metrics;
use tidemark::settings::Settings;
use tidemark::sql::{STATEMENTS, parse_statements};
use tidemark::statement::VARIABLES;
use tidemark::system::{self, measures::MeasureKind};

type Result<T> = std::result::Result<T, String>;

/// A page below docs/reference/.
pub struct Page {
    pub name: &'static str,
    print: fn() -> Result<String>,
}

pub const PAGES: &[Page] = &[
    Page { name: "errors.md", print: errors },
    Page { name: "functions.md", print: functions_page },
    Page { name: "metrics.md", print: metrics_page },
    Page { name: "settings.md", print: settings },
    Page { name: "statements.md", print: statements },
    Page { name: "system-tables.md", print: system_tables },
    Page { name: "views.md", print: views },
];

impl Page {
    /// Compares, or writes.
    pub fn run(&self) -> Result<()> {
        let path = self.path();
        let text = (self.print)()?;
        if crate::rewrites() {
            return std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()));
        }
        let standing = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if standing == text {
            return Ok(());
        }
        let lines = standing.lines().zip(text.lines()).enumerate();
        let (line, shown) = lines
            .filter(|(_, (standing, printed))| standing != printed)
            .map(|(line, (standing, printed))| (line + 1, format!("- {standing}\n+ {printed}")))
            .next()
            .unwrap_or((standing.lines().count().min(text.lines().count()) + 1, "one text goes on".to_owned()));
        Err(format!(
            "docs/reference/{}:{line} differs from the declarations:\n{shown}\n\
             print it: TIDEMARK_REWRITE=1 cargo test --test sql -- docs::reference",
            self.name
        ))
    }

    fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(self.name)
    }
}

fn titled(title: &str, from: &str, about: &str) -> String {
    format!("# {title}\n\nPrinted from {from}; [Testing](../internals/testing.md) says how. {about}\n")
}

/// A row of a table; a bar within a cell would end it.
fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', "<br>")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn heads(names: &[&str]) -> String {
    format!("{}{}", row(names), row(&vec!["---"; names.len()]))
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

fn views() -> Result<String> {
    let about = "A query of these parts, in any combination, can be a materialized view. The examples stand for their kind; \
                 [Views](../concepts/views.md) says how it works, and `EXPLAIN` shows what a view keeps.";
    let mut text = titled("What can be a view", "`src/plan/clauses.rs`", about);
    let parts = [
        ("Accepted", "what is kept", tidemark::plan::ACCEPTED),
        ("Refused, by name (0A000)", "instead", tidemark::plan::REFUSED),
    ];
    for (title, last, clauses) in parts {
        text.push_str(&format!("\n## {title}\n\n{}", heads(&["part of SQL", "for example", last])));
        for clause in clauses {
            text.push_str(&row(&[clause.clause, &code(clause.example), clause.sentence]));
        }
    }
    Ok(text)
}

fn errors() -> Result<String> {
    let about = "Every error has one of these SQLSTATEs, a message, and where they help a detail, a hint that says \
                 what to do, and the position that psql draws its caret from. The codes are PostgreSQL's.";
    let mut text = titled("Error codes", "`src/error.rs`", about);
    text.push_str(&format!("\n{}", heads(&["SQLSTATE", "meaning"])));
    for (state, sentence) in SqlState::ALL {
        text.push_str(&row(&[&code(state.0), sentence]));
    }
    Ok(text)
}

fn metrics_page() -> Result<String> {
    let about = "`GET /metrics` on the HTTP port answers with them in Prometheus' text format. `GET /health` answers \
                 200 while the server is ready, 503 while it stops.";
    let mut text = titled("Metrics", "`src/system/measures.rs` and `src/server/http/metrics.rs`", about);
    text.push_str(&format!("\n{}", heads(&["metric", "kind", "label", "meaning"])));
    for metric in metrics::all() {
        let kind = match metric.kind {
            MeasureKind::Counter => "counter",
            MeasureKind::Gauge => "gauge",
        };
        text.push_str(&row(&[&code(&metric.name), kind, &code(metric.label.unwrap_or_default()), metric.sentence]));
    }
    Ok(text)
}

fn settings() -> Result<String> {
    let about = "Two kinds: what a server is started with, and what a session may SET.";
    let mut text = titled("Settings", "`src/settings.rs` and `src/statement/variables.rs`", about);
    text.push_str(
        "\n## Of the server\n\nFrom `tidemark.toml` (or `--config FILE`), then environment variables \
         `TIDEMARK__SECTION__KEY`, then flags; the later wins. An unknown setting refuses the start. Sizes are in bytes, \
         times in milliseconds.\n",
    );
    let sentences = sentences_of_settings();
    let defaults = serde_json::to_value(Settings::default()).map_err(|error| error.to_string())?;
    let defaults = defaults.as_object().ok_or("settings are not an object")?;
    let plain: Vec<_> = defaults.iter().filter(|(_, value)| !value.is_object()).collect();
    text.push_str(&settings_table("", "Settings", &plain, &sentences)?);
    for (section, values) in defaults {
        let Some(values) = values.as_object() else { continue };
        let structure = format!("{}{}Settings", section[..1].to_uppercase(), &section[1..]);
        write!(text, "\n### [{section}]\n").map_err(|error| error.to_string())?;
        text.push_str(&settings_table(section, &structure, &values.iter().collect::<Vec<_>>(), &sentences)?);
    }
    text.push_str(
        "\n## Of a session\n\n`SET name = value`, `SHOW name`, `RESET name`; `SHOW ALL` and `tidemark.settings` list them. A value \
         that cannot be honoured is refused with 22023.\n\n",
    );
    text.push_str(&heads(&["variable", "default", "meaning"]));
    for variable in VARIABLES {
        text.push_str(&row(&[&code(variable.name), &code(variable.default), variable.sentence]));
    }
    Ok(text)
}

fn settings_table(
    section: &str,
    structure: &str,
    values: &[(&String, &serde_json::Value)],
    sentences: &BTreeMap<(String, String), String>,
) -> Result<String> {
    let mut text = format!("\n{}", heads(&["setting", "default", "meaning"]));
    for (name, value) in values {
        let sentence = sentences.get(&(structure.to_owned(), (*name).clone())).ok_or(format!(
            "the setting {section}.{name} has no sentence: write a comment /// above it in src/settings.rs"
        ))?;
        let default = value.as_str().map_or_else(|| value.to_string(), |text| format!("\"{text}\""));
        text.push_str(&row(&[&code(name), &code(&default), sentence]));
    }
    Ok(text)
}

/// By structure and field: the comments in front of the fields.
fn sentences_of_settings() -> BTreeMap<(String, String), String> {
    let mut sentences = BTreeMap::new();
    let (mut structure, mut sentence) = (String::new(), Vec::new());
    for line in include_str!("../../src/settings.rs").lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("/// ") {
            sentence.push(comment);
            continue;
        }
        if let Some(name) = line.strip_prefix("pub struct ") {
            structure = name.trim_end_matches(" {").to_owned();
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|field| field.split_once(':'))
            && !sentence.is_empty()
        {
            sentences.insert((structure.clone(), name.to_owned()), sentence.join(" "));
        }
        sentence.clear();
    }
    sentences
}

fn system_tables() -> Result<String> {
    let about = "They are read like tables; a query sees all of them at one moment.";
    let mut text = titled("System tables", "`src/system`", about);
    let tables = system::described_tables();
    text.push_str("\n## tidemark\n");
    for table in tables.iter().filter(|table| table.schema == "tidemark") {
        let sentence = table.sentence.ok_or(format!("tidemark.{} has no sentence", table.name))?;
        text.push_str(&format!("\n### tidemark.{}\n\n{sentence}\n\n{}", table.name, heads(&["column", "type"])));
        for (name, sql_type) in &table.columns {
            text.push_str(&row(&[&code(name), sql_type]));
        }
    }
    for (schema, about) in [
        ("pg_catalog", "PostgreSQL 15's catalog, as far as clients read it; its manual tells what the columns mean."),
        (
            "information_schema",
            "The standard's view of the catalog. Materialized views are not in it, as in PostgreSQL.",
        ),
    ] {
        text.push_str(&format!("\n## {schema}\n\n{about}\n\n{}", heads(&["table", "columns"])));
        for table in tables.iter().filter(|table| table.schema == schema && !table.is_never_filled) {
            let columns: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
            text.push_str(&row(&[&code(table.name), &columns.join(", ")]));
        }
        let never: Vec<String> = tables
            .iter()
            .filter(|table| table.schema == schema && table.is_never_filled)
            .map(|table| code(table.name))
            .collect();
        if !never.is_empty() {
            text.push_str(&format!("\nThere, and always empty: {}.\n", never.join(", ")));
        }
    }
    Ok(text)
}

fn statements() -> Result<String> {
    let about = "Keywords are case-insensitive; several statements of one message are one transaction.";
    let mut text = titled("Statements", "`src/sql/entries.rs`", about);
    for entry in STATEMENTS {
        text.push_str(&format!(
            "\n## {}\n\n{}\n\n```\n{}\n```\n\n```sql\n{};\n```\n",
            entry.name, entry.sentence, entry.syntax, entry.example
        ));
    }
    text.push_str("\n## Not built\n\nRefused by name, with SQLSTATE 0A000; nothing is parsed and then ignored.\n\n");
    text.push_str(&heads(&["statement", "message", "hint"]));
    for statement in PROBES {
        let refused =
            parse_statements(statement).err().filter(|error| error.state() == SqlState::FEATURE_NOT_SUPPORTED);
        if let Some(error) = refused {
            text.push_str(&row(&[&code(statement), error.message(), error.hint().unwrap_or_default()]));
        }
    }
    Ok(text)
}

/// Statements of PostgreSQL and of streaming databases; the page lists those that the parser refuses.
const PROBES: &[&str] = &[
    "ALTER TABLE t ADD COLUMN a integer",
    "ANALYZE",
    "CALL f()",
    "CLOSE c",
    "CLUSTER",
    "COMMENT ON TABLE t IS 'text'",
    "COMMIT AND CHAIN",
    "COPY t FROM '/file'",
    "CREATE FUNCTION f() RETURNS integer AS 'SELECT 1'",
    "CREATE INDEX i ON t (a)",
    "CREATE OR REPLACE VIEW v AS SELECT 1",
    "CREATE ROLE r",
    "CREATE SCHEMA s",
    "CREATE SECRET s",
    "CREATE SEQUENCE s",
    "CREATE SINK s FROM v",
    "CREATE TABLE t AS SELECT 1",
    "CREATE TEMPORARY TABLE t (a integer)",
    "CREATE TRIGGER t",
    "CREATE TYPE t AS ENUM ('a')",
    "DECLARE c CURSOR FOR SELECT 1",
    "DO 'text'",
    "DROP INDEX i",
    "EXECUTE p",
    "FETCH 1 FROM c",
    "GRANT SELECT ON t TO r",
    "LISTEN c",
    "LOCK TABLE t",
    "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE",
    "MOVE 1 FROM c",
    "NOTIFY c",
    "PREPARE p AS SELECT 1",
    "REFRESH MATERIALIZED VIEW v",
    "REINDEX TABLE t",
    "RELEASE SAVEPOINT s",
    "REVOKE SELECT ON t FROM r",
    "ROLLBACK TO SAVEPOINT s",
    "SAVEPOINT s",
    "SET LOCAL timezone = 'UTC'",
    "SUBSCRIBE v",
    "TRUNCATE t",
    "UNLISTEN c",
    "VACUUM",
];

/// A function's line.
struct Function {
    section: String,
    name: String,
    syntax: String,
    sentence: String,
}

fn functions_page() -> Result<String> {
    let about = "One registry serves ad hoc queries and materialized views, so that both give the same answer. Functions \
                 without \"Tidemark\" in their section are DataFusion's, with its words. Operators and casts follow PostgreSQL; \
                 [differences](postgresql-differences.md) are listed.";
    let mut text = titled("Functions", "the registry of functions (`src/functions`, `src/system/functions`)", about);
    let state = functions::session_state(SessionConfig::new(), Arc::new(RuntimeEnv::default())).build();
    let scalars = state.scalar_functions().values();
    let scalars = scalars.map(|f| (f.name().to_owned(), f.aliases().to_vec(), f.documentation().cloned()));
    let aggregates = state.aggregate_functions().values();
    let aggregates = aggregates.map(|f| (f.name().to_owned(), f.aliases().to_vec(), f.documentation().cloned()));
    let windows = state.window_functions().values();
    let windows = windows.map(|f| (f.name().to_owned(), f.aliases().to_vec(), f.documentation().cloned()));
    text.push_str("\n## Scalar functions\n");
    text.push_str(&sections(scalars.collect())?);
    text.push_str("\n## Aggregates\n\n[Views](views.md) says which work in materialized views.\n");
    text.push_str(&sections(aggregates.collect())?);
    text.push_str("\n## Window functions\n\nEvery aggregate is one too, with OVER.\n");
    text.push_str(&sections(windows.collect())?);
    text.push_str(
        "\n## Functions of the catalog and the session\n\nPostgreSQL's, for its clients: its manual tells what they mean.\n\n",
    );
    text.push_str(&heads(&["function", "arguments"]));
    for (name, least, most) in system::described_functions() {
        let count = if least == most { least.to_string() } else { format!("{least} to {most}") };
        text.push_str(&row(&[&code(name), &count]));
    }
    Ok(text)
}

type Registered = (String, Vec<String>, Option<Documentation>);

fn sections(registered: Vec<Registered>) -> Result<String> {
    let mut seen = BTreeSet::new();
    let mut functions: BTreeMap<String, Vec<Function>> = BTreeMap::new();
    let mut registered: Vec<_> = registered.into_iter().filter(|(name, ..)| seen.insert(name.clone())).collect();
    registered.sort_by(|left, right| left.0.cmp(&right.0));
    for (name, aliases, documentation) in registered {
        let is_internal = functions::INTERNAL.contains(&name.as_str()) || name.ends_with("_from");
        if is_internal {
            continue;
        }
        let function = described(&name, documentation)?;
        let also = if aliases.is_empty() {
            String::new()
        } else {
            format!(" Also {}.", aliases.iter().map(|a| code(a)).collect::<Vec<_>>().join(", "))
        };
        let sentence = format!("{}{also}", function.sentence);
        functions.entry(function.section.clone()).or_default().push(Function { sentence, ..function });
    }
    let mut text = String::new();
    for (section, functions) in functions {
        text.push_str(&format!("\n### {section}\n\n{}", heads(&["function", "syntax", "meaning"])));
        for function in functions {
            text.push_str(&row(&[&code(&function.name), &code(&function.syntax), &function.sentence]));
        }
    }
    Ok(text)
}

fn described(name: &str, documentation: Option<Documentation>) -> Result<Function> {
    if let Some(ours) = functions::SENTENCES.iter().find(|ours| ours.name == name) {
        return Ok(Function {
            section: "Tidemark's own".to_owned(),
            name: name.to_owned(),
            syntax: ours.syntax.to_owned(),
            sentence: ours.sentence.to_owned(),
        });
    }
    let documentation =
        documentation.ok_or(format!("the function {name} has no sentence: write one in src/functions/sentences.rs"))?;
    Ok(Function {
        section: documentation.doc_section.label.to_owned(),
        name: name.to_owned(),
        syntax: documentation.syntax_example.split_whitespace().collect::<Vec<_>>().join(" "),
        sentence: first_sentence(&documentation.description),
    })
}

fn first_sentence(description: &str) -> String {
    let paragraph = description.trim().split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = line
        .match_indices(". ")
        .map(|(at, _)| at)
        .find(|at| !line[..*at].ends_with("e.g") && !line[..*at].ends_with("i.e"));
    let sentence = end.map_or(line.as_str(), |at| &line[..at]);
    format!("{}.", sentence.trim_end_matches(['.', ':']))
}
