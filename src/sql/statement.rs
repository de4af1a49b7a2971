//! What a client may say, after parsing.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::datatypes::IntervalMonthDayNano;
use sqlparser::ast;

use crate::catalog::{Column, TableKind, Watermark};
use crate::types::{CommitNumber, SqlType};

/// One statement. What sqlparser knows well keeps its tree; the rest is ours.
#[derive(Debug, Clone)]
pub enum Statement {
    Query(Box<ast::Query>),
    Insert(Box<ast::Insert>),
    Update(Box<ast::Update>),
    Delete(Box<ast::Delete>),
    CreateTable(CreateTable),
    CreateSource(CreateSource),
    CreateView(CreateView),
    CreateMaterializedView(CreateMaterializedView),
    AlterTable(AlterTable),
    AlterRelation(AlterRelation),
    Drop {
        kind: DropKind,
        names: Vec<String>,
        if_exists: bool,
        cascade: bool,
    },
    Copy(CopyStatement),
    Begin(TransactionMode),
    Commit,
    Rollback,
    Savepoint(String),
    RollbackTo(String),
    Release(String),
    SetTransaction(TransactionMode),
    Set {
        name: String,
        value: Option<String>,
        /// Until the transaction ends.
        is_local: bool,
    },
    /// `None`: all of them.
    Reset(Option<String>),
    Show(String),
    Discard,
    Deallocate(Option<String>),
    Flush(Option<String>),
    /// `EXPIRE [TABLE] name`.
    Expire(String),
    /// `BACKUP TO 'url'`.
    Backup(String),
    Verify(String),
    Explain(Explain),
    ExplainView(String),
    Subscribe(Subscribe),
    DeclareCursor(DeclareCursor),
    /// FETCH and MOVE.
    Fetch(Fetch),
    /// `None`: all of them.
    CloseCursor(Option<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    pub name: String,
    /// The rows that are there come first, as inserts.
    pub snapshot: bool,
    /// A row without content says that a commit is complete.
    pub progress: bool,
    /// Changes of later commits than this.
    pub as_of: Option<CommitNumber>,
}

#[derive(Debug, Clone)]
pub struct DeclareCursor {
    pub name: String,
    pub query: CursorQuery,
}

#[derive(Debug, Clone)]
pub enum CursorQuery {
    Query(Box<ast::Query>),
    Subscribe(Subscribe),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    pub cursor: String,
    /// `None`: all that there are.
    pub rows_max: Option<u64>,
    /// How long a subscription is waited for where nothing is there; `None`: for ever.
    pub timeout: Option<Duration>,
    /// MOVE: the rows are passed over.
    pub moves: bool,
}

/// What BEGIN and SET TRANSACTION may say. Every isolation level is served by snapshot isolation or stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransactionMode {
    pub read_only: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTable {
    pub name: String,
    pub if_not_exists: bool,
    pub columns: Vec<Column>,
    pub kind: TableKind,
    pub upsert: bool,
    pub subscribe_retention_us: u64,
    pub retention: Option<RetentionOption>,
    pub watermark: Option<Watermark>,
}

/// `retention = 'interval'`, and `retention_column` where it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionOption {
    pub text: String,
    pub interval: IntervalMonthDayNano,
    pub column: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateSource {
    pub name: String,
    pub if_not_exists: bool,
    pub columns: Vec<Column>,
    pub connector: String,
    pub options: BTreeMap<String, String>,
    pub subscribe_retention_us: u64,
    pub retention: Option<RetentionOption>,
    pub watermark: Option<Watermark>,
}

#[derive(Debug, Clone)]
pub struct CreateView {
    pub name: String,
    pub or_replace: bool,
    /// Names for the output columns; empty: the query's own.
    pub columns: Vec<String>,
    pub query: Box<ast::Query>,
}

#[derive(Debug, Clone)]
pub struct CreateMaterializedView {
    pub name: String,
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub columns: Vec<String>,
    pub query: Box<ast::Query>,
    pub subscribe_retention_us: u64,
    pub retention: Option<RetentionOption>,
    /// `EMIT ON WINDOW CLOSE`.
    pub emits_on_close: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterTable {
    pub name: String,
    pub if_exists: bool,
    pub actions: Vec<AlterAction>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlterAction {
    AddColumn {
        column: Column,
        if_not_exists: bool,
    },
    DropColumn {
        name: String,
        if_exists: bool,
    },
    RenameColumn {
        from: String,
        to: String,
    },
    /// SQL text of the DEFAULT; `None`: DROP DEFAULT.
    SetDefault {
        column: String,
        default: Option<String>,
    },
    SetType {
        column: String,
        sql_type: SqlType,
    },
    RenameTo(String),
}

/// What is altered without touching columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterRelation {
    pub kind: DropKind,
    pub name: String,
    pub if_exists: bool,
    pub action: RelationAction,
}

/// What is set; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelationOptions {
    /// 0 where it is reset.
    pub subscribe_retention_us: Option<u64>,
    /// `None` within where it is reset.
    pub retention: Option<Option<RetentionOption>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelationAction {
    /// SET and RESET of options.
    SetOptions(RelationOptions),
    /// A materialized view that was suspended or failed.
    Resume,
    /// Of a view or a materialized view.
    RenameTo(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropKind {
    Table,
    Source,
    View,
    MaterializedView,
}

impl DropKind {
    /// As in the statement, for tags and messages.
    pub fn words(self) -> &'static str {
        match self {
            DropKind::Table => "TABLE",
            DropKind::Source => "SOURCE",
            DropKind::View => "VIEW",
            DropKind::MaterializedView => "MATERIALIZED VIEW",
        }
    }
}

#[derive(Debug, Clone)]
pub struct CopyStatement {
    pub target: CopyTarget,
    pub direction: CopyDirection,
    /// In the order written; meaning and conflicts are checked where COPY is carried out.
    pub options: Vec<(String, CopyOptionValue)>,
}

#[derive(Debug, Clone)]
pub enum CopyTarget {
    Table { name: String, columns: Vec<String> },
    Query(Box<ast::Query>),
    Subscribe(Subscribe),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyDirection {
    FromStdin,
    ToStdout,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyOptionValue {
    /// The option alone, as in `HEADER`.
    Absent,
    /// A word, number or string.
    Word(String),
    /// `(a, b)` or `*`, as in FORCE_QUOTE.
    Columns(Vec<String>),
}

#[derive(Debug, Clone)]
pub struct Explain {
    pub analyze: bool,
    pub verbose: bool,
    /// What the query would keep as a materialized view.
    pub state: bool,
    pub statement: Box<Statement>,
}
