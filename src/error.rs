//! The one public error: a SQLSTATE, and what PostgreSQL's clients show of an error.
//!
//! Modules whose callers match on causes keep a private enum and turn it into this type at their edge. Imports nothing;
//! the owner of a foreign or private error writes `impl From<TheirError> for Error` beside it.
//!
//! Wording: message short, lower case, no full stop; detail in sentences; hint says what to do.

use std::fmt;
use std::sync::Arc;

/// Result with the public error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A five-character SQLSTATE.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub &'static str);

macro_rules! sql_states {
    ($($name:ident = $code:literal, $sentence:literal;)*) => {
        impl SqlState {
            $(#[doc = $sentence] pub const $name: SqlState = SqlState($code);)*
            /// Every code that Tidemark raises, with the sentence of the reference page.
            pub const ALL: &'static [(SqlState, &'static str)] = &[$((SqlState::$name, $sentence)),*];
        }
    };
}

sql_states! {
    PROTOCOL_VIOLATION = "08P01", "The client broke the wire protocol.";
    CONNECTION_FAILURE = "08006", "The connection ended in the middle of a statement.";
    FEATURE_NOT_SUPPORTED = "0A000", "Not built yet, or not possible; the hint says what is.";
    CARDINALITY_VIOLATION = "21000", "A subquery used as an expression returned more than one row.";
    STRING_TOO_LONG = "22001", "A value is longer than its varchar(n).";
    NUMERIC_OUT_OF_RANGE = "22003", "A number does not fit its type.";
    INVALID_DATETIME = "22007", "Not a valid date, timestamp or interval.";
    DATETIME_OVERFLOW = "22008", "A date or timestamp is out of range.";
    INVALID_TIME_ZONE_DISPLACEMENT = "22009", "An offset from UTC is out of range.";
    DIVISION_BY_ZERO = "22012", "Division by zero.";
    INVALID_FRAME_OFFSET = "22013", "An offset of a window frame that is negative.";
    INVALID_ARGUMENT_FOR_NTILE = "22014", "Fewer than one bucket of ntile.";
    INVALID_ARGUMENT_FOR_NTH_VALUE = "22016", "A place of nth_value that is not above 0.";
    INVALID_ENCODING = "22021", "Bytes that are not valid UTF-8.";
    INVALID_PARAMETER = "22023", "An option or setting has an unusable value.";
    INVALID_ROW_COUNT_IN_LIMIT = "2201W", "A negative LIMIT.";
    INVALID_ROW_COUNT_IN_OFFSET = "2201X", "A negative OFFSET.";
    NULL_VALUE_NOT_ALLOWED = "22004", "A NULL where a value is needed.";
    INVALID_TEXT_REPRESENTATION = "22P02", "Text that its type cannot read.";
    INVALID_BINARY_REPRESENTATION = "22P03", "A binary parameter that its type cannot read.";
    BAD_COPY_FORMAT = "22P04", "COPY data with too many or too few columns, or broken quoting.";
    UNTRANSLATABLE_CHARACTER = "22P05", "A character that a text cannot hold.";
    NOT_NULL_VIOLATION = "23502", "A NULL for a NOT NULL column.";
    UNIQUE_VIOLATION = "23505", "A row with the same primary key exists.";
    INVALID_TRANSACTION_STATE = "25000", "The statement does not fit the transaction's state.";
    ACTIVE_TRANSACTION = "25001", "The statement cannot run inside a transaction.";
    READ_ONLY_TRANSACTION = "25006", "A write in a read-only transaction.";
    NO_ACTIVE_TRANSACTION = "25P01", "COMMIT, ROLLBACK or SAVEPOINT without BEGIN.";
    IN_FAILED_TRANSACTION = "25P02", "The transaction failed; only ROLLBACK, whole or to a savepoint, is accepted.";
    INVALID_STATEMENT_NAME = "26000", "No prepared statement of this name.";
    INVALID_AUTHORIZATION = "28000", "The user may not connect.";
    INVALID_PASSWORD = "28P01", "The password is wrong.";
    DEPENDENT_OBJECTS = "2BP01", "Other objects depend on this one.";
    INVALID_CURSOR_NAME = "34000", "No portal of this name.";
    INVALID_CATALOG_NAME = "3D000", "No such database.";
    INVALID_SCHEMA_NAME = "3F000", "No such schema.";
    INVALID_SAVEPOINT = "3B001", "No savepoint of this name.";
    SERIALIZATION_FAILURE = "40001", "A concurrent transaction changed the same rows; retry.";
    SYNTAX_ERROR = "42601", "The statement does not parse.";
    DUPLICATE_COLUMN = "42701", "A column is named twice.";
    AMBIGUOUS_COLUMN = "42702", "A column name fits several tables.";
    UNDEFINED_COLUMN = "42703", "No such column.";
    UNDEFINED_OBJECT = "42704", "No such type, setting or other object.";
    DUPLICATE_OBJECT = "42710", "An object of this name exists.";
    GROUPING_ERROR = "42803", "A column is neither grouped nor aggregated.";
    DATATYPE_MISMATCH = "42804", "An expression has another type than is needed.";
    WRONG_OBJECT_TYPE = "42809", "The object is of another kind.";
    UNDEFINED_FUNCTION = "42883", "No function or operator of this name and these types.";
    UNDEFINED_TABLE = "42P01", "No such table or view.";
    UNDEFINED_PARAMETER = "42P02", "No such parameter.";
    DUPLICATE_CURSOR = "42P03", "A portal of this name exists.";
    DUPLICATE_PREPARED_STATEMENT = "42P05", "A prepared statement of this name exists.";
    DUPLICATE_TABLE = "42P07", "A table or view of this name exists.";
    INVALID_COLUMN_REFERENCE = "42P10", "No unique constraint fits the ON CONFLICT clause.";
    INVALID_TABLE_DEFINITION = "42P16", "The definition of a table or view contradicts itself.";
    INVALID_OBJECT_DEFINITION = "42P17", "A view would be defined by itself.";
    INDETERMINATE_DATATYPE = "42P18", "The type of a parameter cannot be told.";
    WINDOWING_ERROR = "42P20", "A window frame that cannot be, or a window function where none may stand.";
    DISK_FULL = "53100", "The disk or the object store is full.";
    OUT_OF_MEMORY = "53200", "The statement needs more memory than it may use.";
    TOO_MANY_CONNECTIONS = "53300", "Too many connections.";
    CONFIGURATION_LIMIT_EXCEEDED = "53400", "A configured limit was reached; the detail names it.";
    PROGRAM_LIMIT_EXCEEDED = "54000", "The statement exceeds a limit; the detail names it.";
    STATEMENT_TOO_COMPLEX = "54001", "A value or statement is nested too deep.";
    OBJECT_NOT_IN_STATE = "55000", "The object is not in a state for this.";
    OBJECT_IN_USE = "55006", "The object, or the data directory, is in use.";
    QUERY_CANCELED = "57014", "Canceled by the user or by statement_timeout.";
    ADMIN_SHUTDOWN = "57P01", "The server is shutting down.";
    CANNOT_CONNECT_NOW = "57P03", "The server is starting.";
    IO_ERROR = "58030", "The disk or the object store failed.";
    INTERNAL = "XX000", "A defect of Tidemark; please report it.";
    DATA_CORRUPTED = "XX001", "Bytes at rest are damaged; the detail names them.";
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

const STATEMENT_TIMEOUT: &str = "canceling statement due to statement timeout";

/// An error as a PostgreSQL client receives it. Cheap to clone and to move (one pointer).
#[derive(Clone)]
pub struct Error(Arc<Fields>);

#[derive(Clone)]
struct Fields {
    state: SqlState,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<usize>,
    context: Option<String>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(state: SqlState, message: impl Into<String>) -> Self {
        Error(Arc::new(Fields {
            state,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
            source: None,
        }))
    }

    /// 0A000 for what Tidemark does not do (yet), by name. Say with [`Error::hint`] what works instead.
    pub fn not_built(what: impl fmt::Display) -> Self {
        Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("{what} is not supported yet"))
    }

    /// 57014: `statement_timeout` is over.
    pub fn statement_timeout() -> Self {
        Error::new(SqlState::QUERY_CANCELED, STATEMENT_TIMEOUT)
    }

    /// Whether time ended the statement, and not its user.
    pub fn is_statement_timeout(&self) -> bool {
        self.state() == SqlState::QUERY_CANCELED && self.message() == STATEMENT_TIMEOUT
    }

    /// XX000: a defect of ours, never the user's.
    pub fn internal(message: impl fmt::Display) -> Self {
        Error::new(SqlState::INTERNAL, format!("internal error: {message}"))
            .with_hint("This is a defect of Tidemark. Please report it with the statement that caused it.")
    }

    /// XX001: bytes at rest that do not read back. `what` names the file and the place in it.
    pub fn corrupted(what: impl fmt::Display) -> Self {
        Error::new(SqlState::DATA_CORRUPTED, format!("{what}"))
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).detail = Some(detail.into());
        self
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).hint = Some(hint.into());
        self
    }

    /// 1-based character (not byte) position in the statement's text; clients draw their caret from it.
    pub fn with_position(mut self, position: usize) -> Self {
        Arc::make_mut(&mut self.0).position = Some(position);
        self
    }

    /// Where it happened, as PostgreSQL's CONTEXT line, for example `COPY readings, line 3, column temperature`.
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).context = Some(context.into());
        self
    }

    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::new(source));
        self
    }

    pub fn state(&self) -> SqlState {
        self.0.state
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    pub fn position(&self) -> Option<usize> {
        self.0.position
    }

    pub fn context(&self) -> Option<&str> {
        self.0.context.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(detail) = &self.0.detail {
            write!(f, " ({detail})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.state, self.0.message)?;
        for (name, value) in [("DETAIL", &self.0.detail), ("HINT", &self.0.hint), ("CONTEXT", &self.0.context)] {
            if let Some(value) = value {
                write!(f, "\n{name}: {value}")?;
            }
        }
        if let Some(source) = &self.0.source {
            write!(f, "\ncaused by: {source:?}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}
