//! Settings as plain data: what a server is started with, and what a session may SET.
//!
//! Read from `tidemark.toml`, then `TIDEMARK__SECTION__KEY`, then flags; parsing stands in the binary. Sizes in bytes,
//! times in milliseconds; the unit is the last word of each name.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything a server is started with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Write-ahead log, lock file, and (unless `object_store` says otherwise) the tier's files.
    pub data_dir: PathBuf,
    /// URL of the object store for cold files; empty: `data_dir/tier`.
    pub object_store: String,
    /// Address of PostgreSQL's protocol.
    pub listen_sql: SocketAddr,
    /// Address of health and metrics.
    pub listen_http: SocketAddr,
    /// Address of Arrow Flight SQL.
    pub listen_flight: SocketAddr,
    /// Local clients need no password.
    pub trust_loopback: bool,
    pub wal: WalSettings,
    pub table: TableSettings,
    pub query: QuerySettings,
    pub dataflow: DataflowSettings,
    pub checkpoint: CheckpointSettings,
    pub memory: MemorySettings,
    pub server: ServerSettings,
    pub flight: FlightSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            data_dir: PathBuf::from("./tidemark-data"),
            object_store: String::new(),
            listen_sql: SocketAddr::from(([127, 0, 0, 1], 5480)),
            listen_http: SocketAddr::from(([127, 0, 0, 1], 5481)),
            listen_flight: SocketAddr::from(([127, 0, 0, 1], 5482)),
            trust_loopback: false,
            wal: WalSettings::default(),
            table: TableSettings::default(),
            query: QuerySettings::default(),
            dataflow: DataflowSettings::default(),
            checkpoint: CheckpointSettings::default(),
            memory: MemorySettings::default(),
            server: ServerSettings::default(),
            flight: FlightSettings::default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WalSettings {
    /// A segment is closed, and the next one opened, once it holds this much.
    pub segment_bytes_max: u64,
    /// The largest commit group; a writer that would exceed it waits for the next group.
    pub group_bytes_max: u64,
    /// While the log's disk fails, a writer waits this long before it gets the disk's error.
    pub write_timeout_ms: u64,
}

impl Default for WalSettings {
    fn default() -> Self {
        WalSettings { segment_bytes_max: 64 << 20, group_bytes_max: 64 << 20, write_timeout_ms: 5_000 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableSettings {
    /// A memtable of this size is flushed to cold files.
    pub flush_bytes: u64,
    /// All memtables are flushed once they are of this size together.
    pub flush_total_bytes: u64,
    /// A memtable whose oldest row is this old is flushed.
    pub flush_age_ms: u64,
    /// How often the flusher looks.
    pub flush_poll_ms: u64,
    /// How often it is looked for rows that are older than the retention of their table or view.
    pub expire_poll_ms: u64,
    /// For so long `FOR SYSTEM_TIME AS OF` can read what was; 0: not at all. Costs 24 bytes of memory a commit, and deleted and
    /// former rows stay in memory and in files until then.
    pub history_retention_ms: u64,
    /// Rows of a Parquet row group.
    pub row_group_rows: usize,
    /// Rows of a Parquet file; larger flushes are split.
    pub file_rows_max: usize,
    /// Rows that a flush sorts in one piece, which must stay far below the 2 GiB of text that a column may hold; a compaction has about
    /// as many of its files in memory.
    pub piece_bytes_max: usize,
    /// So many cold files of like size are compacted into one; 0: never.
    pub compact_files_min: usize,
    /// Files of this size are large enough, and a compaction reads no more than this at a time.
    pub compact_bytes_max: u64,
    /// So many bytes of live rows of PRIMARY KEY tables a start reads back into memory, of the smallest tables first, so that the
    /// first writes find them there.
    pub keyed_restore_bytes: u64,
}

impl Default for TableSettings {
    fn default() -> Self {
        TableSettings {
            flush_bytes: 128 << 20,
            flush_total_bytes: 1 << 30,
            flush_age_ms: 60_000,
            flush_poll_ms: 500,
            expire_poll_ms: 60_000,
            history_retention_ms: 0,
            row_group_rows: 131_072,
            file_rows_max: 4 << 20,
            piece_bytes_max: 256 << 20,
            compact_files_min: 8,
            compact_bytes_max: 64 << 20,
            keyed_restore_bytes: 32 << 20,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuerySettings {
    /// Memory that all ad hoc queries together may use.
    pub memory_bytes: usize,
    /// Disk that they may spill to.
    pub spill_bytes: u64,
    /// Threads of the ad hoc engine, apart from those of commits and views; 0: the machine's cores.
    pub threads: usize,
    /// Rows that operators of ad hoc queries hand on at a time.
    pub batch_rows: usize,
}

impl Default for QuerySettings {
    fn default() -> Self {
        QuerySettings { memory_bytes: 1 << 30, spill_bytes: 10 << 30, threads: 0, batch_rows: 8192 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataflowSettings {
    /// A step of the dataflow covers at most this many commits; 0: no limit but rows.
    pub commits_per_step_max: usize,
    /// A step covers at most about this many input rows.
    pub rows_per_step_max: usize,
    /// Changes that wait for one reader of a subscription; a reader that falls further behind is cut.
    pub subscription_bytes_max: usize,
    /// What slow readers of views keep that the views have changed since, in memory and on disk; the oldest readers are ended past it.
    pub snapshot_bytes_max: u64,
    /// What state of views may hold in memory at most; 0: what memory.limit_bytes leaves for it.
    pub state_bytes_max: u64,
    /// Threads that one step may use; 0: as many as the machine has cores.
    pub threads: usize,
    /// Changes kept of one table or view with subscribe_retention; the oldest go once there are more.
    pub changelog_bytes_max: u64,
    /// Test switch: other than 0, steps are cut at random under this seed, and otherwise wait for more commits; the seed also says how
    /// little an operator gives at once.
    pub step_cuts_seed: u64,
    /// Changes that may wait for views. Past it the view that costs the most is suspended, and writers go on.
    pub lag_bytes_max: u64,
    /// Where a view has a condition with now(), and nothing was committed for so long, an empty commit is made; 0: never.
    pub tick_ms: u64,
}

impl Default for DataflowSettings {
    fn default() -> Self {
        DataflowSettings {
            commits_per_step_max: 0,
            rows_per_step_max: 1 << 20,
            subscription_bytes_max: 64 << 20,
            snapshot_bytes_max: 4 << 30,
            state_bytes_max: 0,
            threads: 0,
            changelog_bytes_max: 1 << 30,
            step_cuts_seed: 0,
            lag_bytes_max: 4 << 30,
            tick_ms: 1_000,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointSettings {
    /// The state of views is written this often, if anything was committed.
    pub interval_ms: u64,
    /// And once so much was committed since it last was.
    pub log_bytes: u64,
    /// The log is kept for checkpoints up to this size. Where they fail for so long, the next start makes views again from
    /// their tables instead.
    pub log_bytes_max: u64,
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        CheckpointSettings { interval_ms: 30_000, log_bytes: 256 << 20, log_bytes_max: 8 << 30 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemorySettings {
    /// What the server may hold in memory, everything together; 0: three quarters of what the machine has. State of views
    /// that does not fit leaves for disk, tables are flushed earlier, and writers wait.
    pub limit_bytes: u64,
    /// While memory is full of rows that cannot be flushed, a writer waits this long before it is refused with 53200.
    pub write_timeout_ms: u64,
}

impl Default for MemorySettings {
    fn default() -> Self {
        MemorySettings { limit_bytes: 0, write_timeout_ms: 30_000 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Clients at a time; one more is refused.
    pub connections_max: usize,
    /// Largest message of an authenticated client.
    pub message_bytes_max: usize,
    /// A client that has not logged in by then is cut.
    pub login_timeout_ms: u64,
    /// Most rows' bytes that one COPY FROM STDIN may hold before its commit.
    pub copy_bytes_max: usize,
}

impl Default for ServerSettings {
    fn default() -> Self {
        ServerSettings {
            connections_max: 500,
            message_bytes_max: 256 << 20,
            login_timeout_ms: 30_000,
            copy_bytes_max: 2 << 30,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlightSettings {
    /// Results that were promised and not read yet; each keeps what it reads from going away.
    pub results_max: usize,
    /// A result that nobody reads is let go after this long.
    pub result_age_ms: u64,
    /// Prepared statements that are remembered.
    pub prepared_statements_max: usize,
    /// Logins that are remembered.
    pub tokens_max: usize,
    /// A login or a prepared statement that is not used for this long is forgotten.
    pub session_age_ms: u64,
    /// Largest message of a client: a statement's text, its parameters.
    pub message_bytes_max: usize,
    /// Rows are sent in messages of about this size.
    pub batch_bytes: usize,
}

impl Default for FlightSettings {
    fn default() -> Self {
        FlightSettings {
            results_max: 256,
            result_age_ms: 600_000,
            prepared_statements_max: 4096,
            tokens_max: 4096,
            session_age_ms: 3_600_000,
            message_bytes_max: 4 << 20,
            batch_bytes: 1 << 20,
        }
    }
}
