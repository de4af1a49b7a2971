//! The extended protocol: Parse, Bind, Describe, Execute, Close, Sync.
//!
//! The statements between two Syncs are one implicit transaction, as in PostgreSQL, unless one opens its own. The usual
//! single Execute right before a Sync needs none: the gate is asked what comes next.

use std::sync::Arc;

use datafusion::common::ScalarValue;

use super::cancel::Interrupt;
use super::connection::{Client, Failure};
use super::encode::Format;
use super::frontend::{Bind, Target};
use super::gate::violation;
use super::parameter::{declared_type, decode};
use super::rows::RowCursor;
use crate::error::{Error, Result, SqlState};
use crate::session::{LeftOpen, OutputColumn, Parsed, Response, TransactionStatus};
use crate::types::SqlType;

/// Parameters of a statement: the count fields of the protocol hold 16 bits.
const PARAMETERS_MAX: usize = 65_535;

/// A prepared statement.
pub(super) struct Prepared {
    /// `None`: the empty statement.
    statement: Option<Parsed>,
    parameters: Vec<Parameter>,
    columns: Option<Arc<[OutputColumn]>>,
}

struct Parameter {
    sql_type: SqlType,
    /// What the client is told, and has its values in mind as: its own declaration where it made one.
    oid: u32,
}

/// A statement with its parameters, and how far it has run.
pub(super) struct Portal {
    prepared: Arc<Prepared>,
    formats: Vec<Format>,
    state: PortalState,
}

enum PortalState {
    New(Vec<ScalarValue>),
    /// A result set that is being read.
    Open(RowCursor),
    /// One with rows that have not been asked for.
    Suspended(LeftOpen<RowCursor>),
    /// A result set at its end; asked again it has no more rows.
    Drained(RowCursor),
    /// Anything else runs once.
    Done,
}

impl Client {
    pub(super) async fn parse(&mut self, name: String, sql: &str, oids: &[u32]) -> Result<(), Failure> {
        if !name.is_empty() && self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(SqlState::DUPLICATE_PREPARED_STATEMENT, message).into());
        }
        let mut statements = self.session.parse(sql)?;
        let statement = statements.pop();
        if !statements.is_empty() {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(Error::new(SqlState::SYNTAX_ERROR, message).into());
        }
        let prepared = self.prepare(statement, oids).await?;
        self.statements.insert(name, Arc::new(prepared));
        self.out.parse_complete();
        Ok(())
    }

    async fn prepare(&mut self, statement: Option<Parsed>, oids: &[u32]) -> Result<Prepared, Failure> {
        let Some(parsed) = statement else {
            return Ok(Prepared { statement: None, parameters: Vec::new(), columns: None });
        };
        let declared = oids.iter().map(|oid| declared_type(*oid)).collect::<Result<Vec<_>>>()?;
        let description = self.interrupt().run(self.session.describe(&parsed, &declared)).await?;
        if description.parameters.len() > PARAMETERS_MAX {
            return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the statement has too many parameters")
                .with_detail(format!("The protocol carries {PARAMETERS_MAX}."))
                .into());
        }
        let parameter = |(index, sql_type): (usize, SqlType)| {
            let declared = declared.get(index).is_some_and(|declared| declared.is_some());
            let known = description.elements.get(&index).map_or(sql_type.oid(), SqlType::array_oid);
            let oid = oids.get(index).copied().filter(|_| declared).unwrap_or(known);
            Parameter { sql_type, oid }
        };
        let parameters = description.parameters.into_iter().enumerate().map(parameter).collect();
        Ok(Prepared { statement: Some(parsed), parameters, columns: description.columns.map(Arc::from) })
    }

    pub(super) fn bind(&mut self, bind: Bind) -> Result<(), Failure> {
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            let message = format!("portal \"{}\" already exists", bind.portal);
            return Err(Error::new(SqlState::DUPLICATE_CURSOR, message).into());
        }
        let prepared = self.prepared(&bind.statement)?.clone();
        let zone = self.session.settings().time_zone;
        let count = prepared.parameters.len();
        if bind.parameters.len() != count {
            return Err(violation(format_args!(
                "bind message supplies {} parameters, but prepared statement \"{}\" requires {count}",
                bind.parameters.len(),
                bind.statement
            ))
            .into());
        }
        let formats = Format::spread(&bind.parameter_formats, count, "parameter")?;
        let values = prepared.parameters.iter().zip(bind.parameters).zip(formats).enumerate();
        let values = values.map(|(index, ((parameter, value), format))| {
            decode(&parameter.sql_type, parameter.oid, format, value, zone)
                .map_err(|error| error.with_context(parameter_context(&bind.portal, index + 1)))
        });
        let state = PortalState::New(values.collect::<Result<_>>()?);
        let formats = match &prepared.columns {
            Some(columns) => Format::spread(&bind.result_formats, columns.len(), "result column")?,
            None => Vec::new(),
        };
        self.portals.insert(bind.portal, Portal { prepared, formats, state });
        self.out.bind_complete();
        Ok(())
    }

    pub(super) fn describe(&mut self, target: &Target) -> Result<(), Failure> {
        match target {
            Target::Statement(name) => {
                let prepared = self.prepared(name)?.clone();
                let oids: Vec<u32> = prepared.parameters.iter().map(|parameter| parameter.oid).collect();
                self.out.parameter_description(&oids);
                self.describe_columns(prepared.columns.as_deref(), &[])
            }
            Target::Portal(name) => {
                if let Some(portal) = self.portals.get(name) {
                    let (prepared, formats) = (portal.prepared.clone(), portal.formats.clone());
                    return self.describe_columns(prepared.columns.as_deref(), &formats);
                }
                // A cursor is a portal that DECLARE opened.
                let columns = self.session.cursor_columns(name).ok_or_else(|| no_portal(name))?;
                self.describe_columns(Some(&columns), &[])
            }
        }
    }

    fn describe_columns(&mut self, columns: Option<&[OutputColumn]>, formats: &[Format]) -> Result<(), Failure> {
        match columns {
            Some(columns) => self.out.row_description(columns, formats)?,
            None => self.out.no_data(),
        }
        Ok(())
    }

    pub(super) async fn execute(&mut self, name: String, rows_max: usize) -> Result<(), Failure> {
        // Taken out while it runs: a portal whose statement fails does not come back.
        let mut portal = self.portals.remove(&name).ok_or_else(|| no_portal(&name))?;
        let mut interrupt = self.interrupt();
        self.open_pipeline(&mut interrupt).await?;
        portal.state = match portal.state {
            PortalState::New(parameters) => match &portal.prepared.statement {
                Some(statement) => {
                    let response = interrupt.run(self.session.execute(statement, parameters)).await?;
                    match response {
                        Response::Rows { columns, rows, tag, is_live, .. } => {
                            check_columns(portal.prepared.columns.as_deref(), &columns)?;
                            PortalState::Open(RowCursor::new(rows, columns, portal.formats.clone(), tag, is_live))
                        }
                        other => {
                            let tag = self.respond_without_rows(other, &mut interrupt).await?;
                            self.complete(tag);
                            PortalState::Done
                        }
                    }
                }
                None => {
                    self.out.empty_query();
                    PortalState::Done
                }
            },
            PortalState::Suspended(cursor) => PortalState::Open(cursor.take()?),
            PortalState::Done => return Err(ran_already(&name).into()),
            state => state,
        };
        portal.state = match portal.state {
            PortalState::Open(mut cursor) => {
                let settings = self.session.settings();
                self.begin_live(cursor.is_live(), &mut interrupt);
                let sent = interrupt.run(cursor.send(rows_max, &settings, &mut self.out)).await?;
                if sent.finished {
                    self.complete(Some(cursor.tag(sent.rows)));
                    PortalState::Drained(cursor)
                } else {
                    self.out.portal_suspended();
                    match cursor.is_live() {
                        // What waits for it has a bound of its own.
                        true => PortalState::Open(cursor),
                        false => PortalState::Suspended(self.slow.leave_open(cursor)),
                    }
                }
            }
            PortalState::Drained(cursor) => {
                self.complete(Some(cursor.tag(0)));
                PortalState::Drained(cursor)
            }
            state => state,
        };
        self.portals.insert(name, portal);
        Ok(())
    }

    /// Opens the implicit transaction in front of an Execute that is not the last message before Sync.
    async fn open_pipeline(&mut self, interrupt: &mut Interrupt) -> Result<(), Failure> {
        if self.implicit || self.session.transaction_status() != TransactionStatus::Idle {
            return Ok(());
        }
        let (reader, phase) = (&mut self.reader, self.phase);
        if !interrupt.run(async { Ok(reader.sync_is_next(phase).await) }).await? {
            self.session.begin_implicit();
            self.implicit = true;
        }
        Ok(())
    }

    pub(super) fn close(&mut self, target: &Target) {
        match target {
            Target::Statement(name) => drop(self.statements.remove(name)),
            Target::Portal(name) => drop(self.portals.remove(name)),
        }
        self.out.close_complete();
    }

    pub(super) async fn sync(&mut self) -> Result<(), Failure> {
        let failed = std::mem::take(&mut self.skipping);
        self.end_pipeline(!failed).await
    }

    fn prepared(&self, name: &str) -> Result<&Arc<Prepared>> {
        self.statements.get(name).ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            Error::new(SqlState::INVALID_STATEMENT_NAME, message)
        })
    }
}

/// A table may have changed since Parse; the client was promised these columns.
fn check_columns(described: Option<&[OutputColumn]>, columns: &[OutputColumn]) -> Result<()> {
    let same = described.is_some_and(|described| {
        described.len() == columns.len()
            && described
                .iter()
                .zip(columns)
                .all(|(described, column)| described.sql_type.oid() == column.sql_type.oid())
    });
    if same {
        return Ok(());
    }
    Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "cached plan must not change result type")
        .with_hint("Prepare the statement again."))
}

fn parameter_context(portal: &str, number: usize) -> String {
    match portal {
        "" => format!("unnamed portal parameter ${number}"),
        portal => format!("portal \"{portal}\" parameter ${number}"),
    }
}

fn no_portal(name: &str) -> Error {
    Error::new(SqlState::INVALID_CURSOR_NAME, format!("portal \"{name}\" does not exist"))
}

fn ran_already(name: &str) -> Error {
    Error::new(SqlState::OBJECT_NOT_IN_STATE, format!("portal \"{name}\" cannot be run"))
        .with_detail("The statement has run already.")
}
