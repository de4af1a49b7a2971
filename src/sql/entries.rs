//! The statements, one by one, as the reference page lists them.
//!
//! [`Statement::entry`] names each kind's entry, so that a statement cannot be built without one.

use super::statement::{DropKind, Statement};

/// A kind of statement.
#[derive(Debug, PartialEq, Eq)]
pub struct StatementEntry {
    pub name: &'static str,
    pub syntax: &'static str,
    pub sentence: &'static str,
    /// A statement of this kind; a test parses it.
    pub example: &'static str,
}

macro_rules! statements {
    ($($constant:ident = $name:literal, $sentence:literal, $example:literal, $syntax:literal;)*) => {
        $(const $constant: StatementEntry =
            StatementEntry { name: $name, syntax: $syntax, sentence: $sentence, example: $example };)*
        /// All of them, by name.
        pub const STATEMENTS: &[&StatementEntry] = &[$(&$constant),*];
    };
}

statements! {
    ALTER_RELATION = "ALTER ... SET",
        "Says for how long rows stay, and changes are kept for SUBSCRIBE ... AS OF COMMIT; brings a suspended or failed view back; renames a view.",
        "ALTER MATERIALIZED VIEW warm SET (subscribe_retention = '1 hour')",
        "ALTER TABLE | SOURCE | MATERIALIZED VIEW [IF EXISTS] name\n\
         \x20   SET (option [, ...]) | RESET (retention | subscribe_retention [, ...])\n\
         option: retention = 'interval' | retention_column = 'name' | subscribe_retention = 'interval'\n\
         ALTER MATERIALIZED VIEW [IF EXISTS] name RESUME\n\
         ALTER VIEW | MATERIALIZED VIEW [IF EXISTS] name RENAME TO name";
    ALTER_TABLE = "ALTER TABLE",
        "Adds, drops and renames columns, and renames the table, as long as views that read it mean the same rows. Widens the type of a column; views that read that one are filled again.",
        "ALTER TABLE readings ADD COLUMN note text DEFAULT 'none'",
        "ALTER TABLE [IF EXISTS] name action [, ...]\n\
         action: ADD [COLUMN] [IF NOT EXISTS] column type [NOT NULL] [DEFAULT value] | DROP [COLUMN] [IF EXISTS] column\n\
         \x20   | ALTER [COLUMN] column SET DEFAULT value | ALTER [COLUMN] column DROP DEFAULT\n\
         \x20   | ALTER [COLUMN] column [SET DATA] TYPE type\n\
         \x20   | RENAME [COLUMN] column TO name | RENAME TO name";
    BACKUP = "BACKUP", "Copies the whole database at one commit while writes go on; tidemark restore brings it back.",
        "BACKUP TO '/backups/monday'", "BACKUP TO 'url'";
    BEGIN = "BEGIN", "Opens a transaction: one snapshot from its first statement on, one commit at its end.",
        "BEGIN READ ONLY",
        "BEGIN [WORK | TRANSACTION] [mode [, ...]]\nSTART TRANSACTION [mode [, ...]]\n\
         mode: READ ONLY | READ WRITE | ISOLATION LEVEL level | [NOT] DEFERRABLE";
    CLOSE = "CLOSE", "Ends a cursor, or all of them.", "CLOSE changes", "CLOSE name | ALL";
    COMMIT = "COMMIT", "Commits the transaction; returns when it is on disk.", "COMMIT", "COMMIT | END";
    COPY = "COPY",
        "Loads rows from the client, all in one commit, or sends a query's rows to it, as text or CSV.",
        "COPY readings FROM STDIN WITH (FORMAT csv, HEADER)",
        "COPY table [(column [, ...])] FROM STDIN [WITH (option [, ...])]\n\
         COPY table [(column [, ...])] | (query) | (SUBSCRIBE ...) TO STDOUT [WITH (option [, ...])]";
    CREATE_MATERIALIZED_VIEW = "CREATE MATERIALIZED VIEW",
        "Makes a view that is kept up to date by every commit, or puts one in another's place; returns when it is live.",
        "CREATE MATERIALIZED VIEW warm AS SELECT * FROM readings WHERE temperature > 30",
        "CREATE [OR REPLACE] MATERIALIZED VIEW [IF NOT EXISTS] name [(column [, ...])]\n\
         \x20   [WITH (option [, ...])] AS query [EMIT ON WINDOW CLOSE]\n\
         option: retention = 'interval' | retention_column = 'name' | subscribe_retention = 'interval'";
    CREATE_SOURCE = "CREATE SOURCE", "Makes an APPEND ONLY table that a connector fills.",
        "CREATE SOURCE readings (time timestamptz, truck text) WITH (connector = 'fleet')",
        "CREATE SOURCE [IF NOT EXISTS] name [(column type [, ...] [, WATERMARK FOR column AS column - INTERVAL 'interval'])]\n\
         \x20   WITH (connector = 'name' [, option = value ...])";
    CREATE_TABLE = "CREATE TABLE",
        "Makes a table: plain, APPEND ONLY, or with a PRIMARY KEY, which may take the newest row of a key by itself.",
        "CREATE TABLE readings (device text, temperature double precision) APPEND ONLY",
        "CREATE TABLE [IF NOT EXISTS] name (column type [NOT NULL] [DEFAULT value] [PRIMARY KEY] [, ...]\n\
         \x20   [, PRIMARY KEY (column [, ...])] [, WATERMARK FOR column AS column - INTERVAL 'interval'])\n\
         \x20   [APPEND ONLY] [WITH (option = value [, ...])]\n\
         option: on_conflict = 'update' | 'error' | retention = 'interval' | retention_column = 'name'\n\
         \x20   | subscribe_retention = 'interval' | watermark_idle = 'interval'";
    CREATE_VIEW = "CREATE VIEW", "Gives a query a name; it runs whenever it is read.",
        "CREATE VIEW warm AS SELECT * FROM readings", "CREATE [OR REPLACE] VIEW name [(column [, ...])] AS query";
    DEALLOCATE = "DEALLOCATE", "Forgets a prepared statement of the extended protocol, or all of them.",
        "DEALLOCATE ALL", "DEALLOCATE name | ALL";
    DECLARE = "DECLARE", "Opens a cursor over a query or a subscription, within a transaction.",
        "DECLARE changes CURSOR FOR SUBSCRIBE warm",
        "DECLARE name [NO SCROLL] CURSOR [WITHOUT HOLD] FOR query | SUBSCRIBE ...";
    DELETE = "DELETE", "Deletes rows; the views over them follow in the same commit.",
        "DELETE FROM readings WHERE device = 'truck_0'",
        "DELETE FROM table [USING ...] [WHERE condition] [RETURNING expression [, ...]]";
    DISCARD = "DISCARD", "Resets the session: variables and prepared statements.", "DISCARD ALL", "DISCARD ALL";
    DROP = "DROP", "Drops tables, sources or views; with CASCADE also the views over them.",
        "DROP TABLE IF EXISTS readings CASCADE",
        "DROP TABLE | SOURCE | VIEW | MATERIALIZED VIEW [IF EXISTS] name [, ...] [CASCADE | RESTRICT]";
    EXPIRE = "EXPIRE", "Takes rows of a table or materialized view that are older than its retention now, as the server does by itself from time to time.",
        "EXPIRE readings", "EXPIRE [TABLE] name";
    EXPLAIN = "EXPLAIN",
        "Shows how a query is run; ANALYZE runs it and shows what it took. STATE shows what it keeps as a materialized view, and warns of what grows without a bound.",
        "EXPLAIN ANALYZE SELECT 1", "EXPLAIN [ANALYZE] [VERBOSE] query\nEXPLAIN (option [, ...]) query\n\
         EXPLAIN [(STATE)] CREATE MATERIALIZED VIEW name AS query";
    EXPLAIN_VIEW = "EXPLAIN MATERIALIZED VIEW",
        "Shows the operators that keep a materialized view up to date, and the size of their state.",
        "EXPLAIN MATERIALIZED VIEW warm", "EXPLAIN MATERIALIZED VIEW name";
    FETCH = "FETCH", "Gives a cursor's next rows; MOVE passes over them. Of a subscription it waits for them, up to the timeout.",
        "FETCH 10 FROM changes",
        "FETCH | MOVE [NEXT | count | ALL | FORWARD [count | ALL]] [FROM | IN] name [WITH (timeout = 'interval')]";
    FLUSH = "FLUSH", "Writes rows in memory to Parquet files, of one table or of all.", "FLUSH", "FLUSH [[TABLE] name]";
    INSERT = "INSERT", "Inserts rows; returns when they are on disk and in every view.",
        "INSERT INTO readings VALUES ('truck_0', 20.5)",
        "INSERT INTO table [(column [, ...])] VALUES (value [, ...]) [, ...] | query\n\
         \x20   [ON CONFLICT [(column [, ...])] DO NOTHING | DO UPDATE SET column = value [, ...] [WHERE condition]]\n\
         \x20   [RETURNING expression [, ...]]";
    RELEASE = "RELEASE", "Forgets a savepoint and those after it; what was written since stays.", "RELEASE SAVEPOINT before",
        "RELEASE [SAVEPOINT] name";
    RESET = "RESET", "Sets a session's variable, or all of them, back to what they were at connect.", "RESET ALL",
        "RESET name | ALL";
    ROLLBACK = "ROLLBACK", "Ends the transaction without a trace, or undoes what was written since a savepoint.", "ROLLBACK",
        "ROLLBACK | ABORT\nROLLBACK TO [SAVEPOINT] name";
    SAVEPOINT = "SAVEPOINT", "Marks a place in the transaction that ROLLBACK TO can go back to, also after an error.",
        "SAVEPOINT before", "SAVEPOINT name";
    SELECT = "SELECT", "Reads tables and views, hot and cold, all at one commit.", "SELECT * FROM readings",
        "[WITH ...] SELECT ... [FROM ... [FOR SYSTEM_TIME AS OF {COMMIT n | time}] ...] [WHERE ...] [GROUP BY ...] [HAVING ...] [ORDER BY ...] [LIMIT ...] [OFFSET ...]\n\
         VALUES (value [, ...]) [, ...]\nTABLE name";
    SET = "SET", "Sets a session's variable; LOCAL until the transaction ends.", "SET TimeZone = 'Europe/Berlin'",
        "SET [SESSION | LOCAL] name = | TO value | DEFAULT\nSET TIME ZONE value";
    SET_TRANSACTION = "SET TRANSACTION", "Sets whether the transaction, or those to come, may write.",
        "SET TRANSACTION READ ONLY",
        "SET TRANSACTION mode [, ...]\nSET SESSION CHARACTERISTICS AS TRANSACTION mode [, ...]";
    SHOW = "SHOW", "Shows a session's variable, all of them, or what exists.", "SHOW TABLES",
        "SHOW name | ALL | RELATIONS | TABLES | SOURCES | VIEWS | MATERIALIZED VIEWS";
    SUBSCRIBE = "SUBSCRIBE",
        "Gives the rows of a table or materialized view, and then every change of them as it is committed.",
        "SUBSCRIBE warm WITH (SNAPSHOT = false)",
        "SUBSCRIBE [TO] name [WITH (SNAPSHOT = true | false, PROGRESS = true | false)]\n\
         SUBSCRIBE [TO] name [WITH (PROGRESS = true | false)] AS OF COMMIT n";
    UPDATE = "UPDATE", "Changes rows; the views over them follow in the same commit.",
        "UPDATE readings SET temperature = 0",
        "UPDATE table SET column = value [, ...] [FROM ...] [WHERE condition] [RETURNING expression [, ...]]";
    VERIFY = "VERIFY MATERIALIZED VIEW",
        "Runs a materialized view's query ad hoc at one commit, and compares row by row, bit by bit.",
        "VERIFY MATERIALIZED VIEW warm", "VERIFY MATERIALIZED VIEW name";
}

impl Statement {
    /// The entry of the statement's kind.
    pub fn entry(&self) -> &'static StatementEntry {
        match self {
            Statement::Query(_) => &SELECT,
            Statement::Insert(_) => &INSERT,
            Statement::Update(_) => &UPDATE,
            Statement::Delete(_) => &DELETE,
            Statement::CreateTable(_) => &CREATE_TABLE,
            Statement::CreateSource(_) => &CREATE_SOURCE,
            Statement::CreateView(_) => &CREATE_VIEW,
            Statement::CreateMaterializedView(_) => &CREATE_MATERIALIZED_VIEW,
            Statement::AlterTable(_) => &ALTER_TABLE,
            Statement::AlterRelation(_) => &ALTER_RELATION,
            Statement::Drop {
                kind: DropKind::Table | DropKind::Source | DropKind::View | DropKind::MaterializedView,
                ..
            } => &DROP,
            Statement::Copy(_) => &COPY,
            Statement::Begin(_) => &BEGIN,
            Statement::Commit => &COMMIT,
            Statement::Rollback | Statement::RollbackTo(_) => &ROLLBACK,
            Statement::Savepoint(_) => &SAVEPOINT,
            Statement::Release(_) => &RELEASE,
            Statement::SetTransaction(_) => &SET_TRANSACTION,
            Statement::Set { .. } => &SET,
            Statement::Reset(_) => &RESET,
            Statement::Show(_) => &SHOW,
            Statement::Discard => &DISCARD,
            Statement::Deallocate(_) => &DEALLOCATE,
            Statement::Backup(_) => &BACKUP,
            Statement::Expire(_) => &EXPIRE,
            Statement::Flush(_) => &FLUSH,
            Statement::Verify(_) => &VERIFY,
            Statement::Explain(_) => &EXPLAIN,
            Statement::ExplainView(_) => &EXPLAIN_VIEW,
            Statement::Subscribe(_) => &SUBSCRIBE,
            Statement::DeclareCursor(_) => &DECLARE,
            Statement::Fetch(_) => &FETCH,
            Statement::CloseCursor(_) => &CLOSE,
        }
    }
}

#[cfg(test)]
mod tests;
