//! The SQL of the documentation, run: `docs/start.md`, `docs/concepts/` and `docs/guides/`.
//!
//! A page's blocks run in order in one database:
//!
//! * ```` ```sql ```` blocks must succeed, statement by statement;
//! * a block with a prompt (`=> SELECT ...;` or `tidemark=> ...`) is a transcript of psql: what follows a statement must be
//!   the answer, with values compared cell by cell, tags and errors line by line; `<any>` stands for any one word;
//! * `$ kill -9 ...` in a transcript kills the server and starts it again; other lines of a shell are left alone;
//! * `<!-- file: NAME -->` before a block makes it the file NAME, which psql's `\copy` may then read;
//! * `<!-- not run: the reason -->` before a block leaves it alone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::host::{Host, Run};

type Result<T> = std::result::Result<T, String>;

/// The pages whose SQL is run, by their path below docs/.
pub fn find(root: &Path) -> Vec<(String, PathBuf)> {
    let mut pages = vec![root.join("start.md")];
    for folder in ["concepts", "guides"] {
        let entries = std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
        pages.extend(entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "md")));
    }
    pages.sort();
    pages.into_iter().map(|path| (path.strip_prefix(root).unwrap_or(&path).display().to_string(), path)).collect()
}

/// A fenced block.
struct Block {
    line: usize,
    language: String,
    /// What a comment before it says: `file: readings.csv`.
    note: String,
    lines: Vec<String>,
}

pub async fn run(path: &Path) -> Result<()> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let run = Run { keeps_history: text.contains("FOR SYSTEM_TIME"), ..Run::default() };
    let mut page = Page { host: Host::start(run).await?, client: None, files: HashMap::new() };
    let mut outcome = Ok(());
    for block in blocks(&text) {
        outcome = page.block(&block).await.map_err(|message| format!("{}:{}\n{message}", path.display(), block.line));
        if outcome.is_err() {
            break;
        }
    }
    page.client = None;
    page.host.stop().await?;
    outcome
}

fn blocks(text: &str) -> Vec<Block> {
    let (mut blocks, mut open, mut note): (Vec<Block>, Option<Block>, String) = (Vec::new(), None, String::new());
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.lines.push(line.to_owned()),
            (None, Some(language)) => {
                let note = std::mem::take(&mut note);
                open = Some(Block { line: index + 1, language: language.to_owned(), note, lines: Vec::new() });
            }
            (None, None) => match line.strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->")) {
                Some(comment) => note = comment.to_owned(),
                None if line.trim().is_empty() => {}
                None => note.clear(),
            },
        }
    }
    blocks
}

struct Page {
    host: Host,
    client: Option<Psql>,
    files: HashMap<String, String>,
}

/// A connection that answers as psql prints.
struct Psql {
    client: tokio_postgres::Client,
    connection: tokio::task::JoinHandle<()>,
}

impl Drop for Psql {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Page {
    async fn block(&mut self, block: &Block) -> Result<()> {
        if block.note.starts_with("not run: ") {
            return Ok(());
        }
        if let Some(name) = block.note.strip_prefix("file: ") {
            self.files.insert(name.to_owned(), block.lines.join("\n"));
            return Ok(());
        }
        if block.language == "sql" {
            for statement in statements(&block.lines) {
                let answer = self.answer(&statement).await?;
                if let Some(error) = answer.iter().find(|line| line.starts_with("ERROR:")) {
                    return Err(format!("{statement}\n{error}"));
                }
            }
            return Ok(());
        }
        if block.language.is_empty() && block.lines.iter().any(|line| prompted(line).is_some()) {
            return self.transcript(&block.lines).await;
        }
        Ok(())
    }

    async fn transcript(&mut self, lines: &[String]) -> Result<()> {
        let mut at = 0;
        while at < lines.len() {
            let Some(first) = prompted(&lines[at]) else {
                if lines[at].starts_with("$ kill -9") {
                    self.client = None;
                    self.host.crash_and_start().await?;
                }
                at += 1;
                continue;
            };
            let mut statement = first.to_owned();
            at += 1;
            while !statement.trim_end().ends_with(';') && at < lines.len() {
                statement.push('\n');
                statement.push_str(&lines[at]);
                at += 1;
            }
            let end = lines[at..].iter().position(|line| prompted(line).is_some() || line.starts_with("$ "));
            let expected = &lines[at..end.map_or(lines.len(), |end| at + end)];
            at += expected.len();
            let answer = self.answer(&statement).await?;
            compare(expected, &answer).map_err(|difference| format!("{statement}\n{difference}"))?;
        }
        Ok(())
    }

    /// The lines that psql prints.
    async fn answer(&mut self, statement: &str) -> Result<Vec<String>> {
        let (sql, data) = match statement.strip_prefix("\\copy ") {
            Some(copy) => self.copy(copy)?,
            None => (statement.to_owned(), None),
        };
        if self.client.is_none() {
            self.client = Some(self.connect().await?);
        }
        let Some(psql) = &self.client else { return Err("no connection".to_owned()) };
        let answer = match data {
            Some(data) => psql.copy_in(&sql, data).await,
            None if sql.trim_start().to_uppercase().starts_with("COPY ") => psql.copy_out(&sql).await,
            None => psql.query(&sql).await,
        };
        answer.or_else(|error| error_lines(&error))
    }

    /// `\copy t FROM file WITH (...)` as the COPY that psql sends, and the file.
    fn copy(&self, copy: &str) -> Result<(String, Option<String>)> {
        let (target, rest) = copy.split_once(" FROM ").ok_or("\\copy without FROM")?;
        let (file, options) = rest.split_once(' ').unwrap_or((rest, ""));
        let data = self.files.get(file).ok_or(format!("the page has no block <!-- file: {file} -->"))?;
        Ok((format!("COPY {target} FROM STDIN {options}"), Some(data.clone())))
    }

    async fn connect(&self) -> Result<Psql> {
        let (client, connection) = self.host.config()?.connect(NoTls).await.map_err(|error| error.to_string())?;
        let connection = tokio::spawn(async move {
            // Its error comes with the statement that it ends.
            let _ = connection.await;
        });
        Ok(Psql { client, connection })
    }
}

impl Psql {
    /// Rows as `name|name`, then `value|value`, and `(n rows)`; anything else as its tag's rows.
    async fn query(&self, sql: &str) -> std::result::Result<Vec<String>, tokio_postgres::Error> {
        let mut lines = Vec::new();
        let mut rows = None;
        for message in self.client.simple_query(sql).await? {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    lines.push(columns.iter().map(|column| column.name().to_owned()).collect::<Vec<_>>().join("|"));
                    rows = Some(0);
                }
                SimpleQueryMessage::Row(row) => {
                    lines.push((0..row.len()).map(|at| row.get(at).unwrap_or("")).collect::<Vec<_>>().join("|"));
                    rows = rows.map(|rows| rows + 1);
                }
                SimpleQueryMessage::CommandComplete(count) if rows.is_none() => lines.push(tag(sql, count)),
                _ => {}
            }
        }
        if let Some(rows) = rows {
            lines.push(if rows == 1 { "(1 row)".to_owned() } else { format!("({rows} rows)") });
        }
        Ok(lines)
    }

    async fn copy_in(&self, sql: &str, data: String) -> std::result::Result<Vec<String>, tokio_postgres::Error> {
        use futures::SinkExt;
        let mut sink = Box::pin(self.client.copy_in::<str, bytes::Bytes>(sql).await?);
        sink.send(bytes::Bytes::from(format!("{data}\n"))).await?;
        Ok(vec![format!("COPY {}", sink.as_mut().finish().await?)])
    }

    async fn copy_out(&self, sql: &str) -> std::result::Result<Vec<String>, tokio_postgres::Error> {
        use futures::{StreamExt, TryStreamExt};
        let chunks: Vec<bytes::Bytes> = self.client.copy_out(sql).await?.boxed().try_collect().await?;
        Ok(String::from_utf8_lossy(&chunks.concat()).lines().map(str::to_owned).collect())
    }
}

/// The library keeps the number of a command tag only; the words are the statement's.
fn tag(sql: &str, count: u64) -> String {
    let words: Vec<String> = sql.split_whitespace().map(|word| word.trim_end_matches(';').to_uppercase()).collect();
    let word = |at: usize| words.get(at).map(String::as_str).unwrap_or_default();
    match (word(0), word(1), word(2)) {
        ("INSERT", ..) => format!("INSERT 0 {count}"),
        ("UPDATE" | "DELETE" | "COPY", ..) => format!("{} {count}", word(0)),
        ("CREATE", "OR", "REPLACE") if word(3) == "MATERIALIZED" => "CREATE MATERIALIZED VIEW".to_owned(),
        ("CREATE", "OR", "REPLACE") => format!("CREATE {}", word(3)),
        ("CREATE" | "DROP", "MATERIALIZED", "VIEW") => format!("{} MATERIALIZED VIEW", word(0)),
        ("CREATE" | "DROP" | "ALTER", second, _) => format!("{} {second}", word(0)),
        (first, ..) => first.to_owned(),
    }
}

fn error_lines(error: &tokio_postgres::Error) -> Result<Vec<String>> {
    let fields = error.as_db_error().ok_or_else(|| format!("connection: {error}"))?;
    let mut lines = vec![format!("ERROR:  {}", fields.message())];
    lines.extend(fields.detail().map(|detail| format!("DETAIL:  {detail}")));
    lines.extend(fields.hint().map(|hint| format!("HINT:  {hint}")));
    Ok(lines)
}

/// A statement's first line, behind the prompt.
fn prompted(line: &str) -> Option<&str> {
    line.strip_prefix("=> ").or_else(|| line.strip_prefix("tidemark=> "))
}

/// Statements end with a semicolon at the end of a line; `\copy` is a line.
fn statements(lines: &[String]) -> Vec<String> {
    let mut statements = vec![String::new()];
    for line in lines {
        let last = statements.len() - 1;
        if !line.trim_start().starts_with("--") {
            statements[last].push_str(line);
            statements[last].push('\n');
        }
        if line.trim_end().ends_with(';') || line.starts_with("\\copy") {
            statements.push(String::new());
        }
    }
    statements.iter().map(|statement| statement.trim().to_owned()).filter(|statement| !statement.is_empty()).collect()
}

/// Values are compared without their padding; rules and carets are not compared.
fn compare(expected: &[String], answer: &[String]) -> Result<()> {
    let expected: Vec<String> = expected.iter().map(|line| cells(line)).filter(|line| is_compared(line)).collect();
    let answer: Vec<String> = answer.iter().map(|line| cells(line)).filter(|line| is_compared(line)).collect();
    crate::answer::compare(&expected, &answer, None)
}

fn cells(line: &str) -> String {
    let cells = line.split('|').map(|cell| cell.split_whitespace().collect::<Vec<_>>().join(" "));
    cells.collect::<Vec<_>>().join(" | ").trim().to_owned()
}

fn is_compared(line: &str) -> bool {
    let is_rule = !line.is_empty() && line.chars().all(|letter| matches!(letter, '-' | '+'));
    let is_caret = line == "^" || line.starts_with("LINE ");
    !line.is_empty() && !is_rule && !is_caret && line != "..."
}
