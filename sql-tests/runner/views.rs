//! Mode `view`: the SELECTs of a golden as materialized views.
//!
//! A view is created where its query stands, over the rows that are there by then, and compared with the golden's rows.
//! It then lives on while the file changes its tables, and before anything is dropped, and at the end of the file, it
//! must hold what its query says ad hoc, and VERIFY must agree.

use crate::answer::{Answer, Refusal, compare_bags};
use crate::client::Client;
use crate::report::Report;

/// The checks that live.
#[derive(Default)]
pub struct Views {
    alive: Vec<Check>,
    created: usize,
}

struct Check {
    name: String,
    sql: String,
}

/// Refusals that are an answer: not incremental, or output columns that share a name.
const REFUSALS: [&str; 2] = ["0A000", "42701"];

impl Views {
    /// Creates the view and compares it with the golden's rows.
    pub async fn check(
        &mut self,
        client: &Client,
        sql: &str,
        expected: &[String],
        required: bool,
        report: &Report,
    ) -> Result<(), String> {
        self.created += 1;
        let name = format!("check_{}", self.created);
        let query = sql.trim().trim_end_matches(';');
        if let Err(refusal) = client.run(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await {
            if required || !REFUSALS.contains(&refusal.code.as_str()) {
                return Err(format!("as a materialized view: {}", refusal.text));
            }
            report.refused_as_view(&refusal.text);
            return Ok(());
        }
        report.query_as_view();
        let content = rows(client, &format!("SELECT * FROM {name}")).await?;
        compare_bags(expected, &content).map_err(|difference| format!("as a materialized view: {difference}"))?;
        self.alive.push(Check { name, sql: query.to_owned() });
        Ok(())
    }

    /// Compares and drops every living check, newest first. Called before a DROP, which they would hinder.
    pub async fn finish(&mut self, client: &Client) -> Result<(), String> {
        while let Some(check) = self.alive.pop() {
            check
                .hold(client)
                .await
                .map_err(|message| format!("{message}\nin view mode, of the query:\n{}", check.sql))?;
            client.run(&format!("DROP MATERIALIZED VIEW {}", check.name)).await.map_err(text)?;
        }
        Ok(())
    }
}

impl Check {
    async fn hold(&self, client: &Client) -> Result<(), String> {
        let verdict = rows(client, &format!("VERIFY MATERIALIZED VIEW {}", self.name)).await?;
        if !verdict.iter().any(|line| line.contains(" verified ")) {
            return Err(format!("VERIFY says: {}", verdict.join("; ")));
        }
        let content = rows(client, &format!("SELECT * FROM {}", self.name)).await?;
        match client.run(&self.sql).await {
            Ok(Answer::Rows { lines, .. }) => compare_bags(&lines, &content),
            Ok(Answer::Done { .. }) => Err("the query gives no rows ad hoc".to_owned()),
            // Ad hoc the query errs by now (a division by zero, say); the view leaves the erring rows out.
            Err(refusal) if refusal.code.starts_with("22") => Ok(()),
            Err(refusal) => Err(refusal.text),
        }
    }
}

async fn rows(client: &Client, sql: &str) -> Result<Vec<String>, String> {
    match client.run(sql).await.map_err(text)? {
        Answer::Rows { lines, .. } => Ok(lines),
        Answer::Done { .. } => Err(format!("{sql}: no rows")),
    }
}

fn text(refusal: Refusal) -> String {
    refusal.text
}
