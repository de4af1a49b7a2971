//! The numbers of tables, views and sources. Each is declared once, and shown twice under one name: as a column of
//! `tidemark.tables`, `tidemark.views` or `tidemark.sources`, and as a metric.
//!
//! ```text
//! tidemark.views.lag_commits   tidemark_view_lag_commits{view="..."}
//! tidemark.views.rows_read     tidemark_view_rows_read_total{view="..."}     Prometheus ends counters with _total
//! ```

use super::facts::{RelationStats, SourceStats, ViewStats};

/// Whether a number only grows while the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeasureKind {
    Counter,
    Gauge,
}

/// A number that each relation of a kind has.
pub struct Measure<T: 'static> {
    /// The column.
    pub name: &'static str,
    pub kind: MeasureKind,
    /// For the metrics' HELP and the reference pages.
    pub sentence: &'static str,
    pub read: fn(&T) -> u64,
}

macro_rules! measures {
    ($($list:ident of $facts:ty { $($name:literal, $kind:ident, $sentence:literal, $read:expr;)* })*) => {
        $(pub const $list: &[Measure<$facts>] = &[$(Measure {
            name: $name, kind: MeasureKind::$kind, sentence: $sentence, read: $read,
        }),*];)*
    };
}

measures! {
    TABLE of RelationStats {
        "rows", Gauge, "Rows of a table, hot and cold, without deleted ones.", RelationStats::rows;
        "rows_hot", Gauge, "Rows of a table in memory, deleted ones among them until they are flushed.", |table| table.rows_hot;
        "rows_cold", Gauge, "Rows of a table in Parquet files, deleted ones among them.", |table| table.rows_cold;
        "bytes_hot", Gauge, "Memory of a table's hot rows.", |table| table.bytes_hot;
        "bytes_cold", Gauge, "Bytes of a table's Parquet files.", |table| table.bytes_cold;
        "files", Gauge, "Parquet files of a table.", |table| table.files;
        "tombstones", Gauge, "Deleted rows that memory and Parquet files still hold.", |table| table.tombstones;
        "flushed_commit", Gauge, "Rows of commits up to this one are in Parquet files.",
            |table| table.flushed_commit.0;
        "readable_from", Gauge, "The oldest commit that FOR SYSTEM_TIME AS OF can ask of a table.",
            |table| table.readable_from.0;
    }
    VIEW of ViewStats {
        "applied_commit", Gauge, "The last commit that a view has applied.", |view| view.applied_commit.0;
        "lag_commits", Gauge, "Durable commits that a view has not applied yet.", |view| view.lag_commits;
        "rows", Gauge, "Rows of a view, before conditions that are applied when it is read (HAVING).", |view| view.rows;
        "state_bytes", Gauge, "Memory of a view's state.", |view| view.state_bytes;
        "errors", Gauge, "Rows and groups that a view leaves out because of an error.", |view| view.errors;
        "accepted_rows", Gauge, "Rows that were on time, of a view with EMIT ON WINDOW CLOSE.", |view| view.accepted_rows;
        "late_rows", Gauge, "Rows that came too late for a view with EMIT ON WINDOW CLOSE.", |view| view.late_rows;
        "rows_read", Counter, "State rows that a view's operators touched.", |view| view.rows_read;
        "rows_emitted", Counter, "Changes that a view's operators gave.", |view| view.rows_emitted;
        "failed", Gauge, "1 where a view stopped, and status and failure of tidemark.views say why.",
            |view| u64::from(view.failure.is_some());
    }
    SOURCE of SourceStats {
        "rows", Counter, "Rows that a source has committed since the start.", |source| source.rows;
        "failed", Gauge, "1 while a source is stopped by an error, which tidemark.sources shows.",
            |source| u64::from(source.error.is_some());
    }
}

/// The measures as a line of columns.
pub fn columns<T>(measures: &[Measure<T>]) -> String {
    measures.iter().map(|measure| format!(" {}:int8", measure.name)).collect()
}
