//! Who asks, where, and with which settings.

use datafusion::common::ScalarValue;

use super::call::{Arguments, Entry, Returns, boolean, int, invalid, maybe_text, null_text, text, texts};
use crate::error::{Error, Result, SqlState};
use crate::system::facts::Facts;

pub const FUNCTIONS: &[Entry] = &[
    ("current_setting", 1, 2, Returns::Text, current_setting),
    ("set_config", 3, 3, Returns::Text, set_config),
    ("current_schema", 0, 0, Returns::Text, current_schema),
    ("current_schemas", 1, 1, Returns::Texts, current_schemas),
    ("current_database", 0, 0, Returns::Text, current_database),
    ("current_catalog", 0, 0, Returns::Text, current_database),
    ("current_user", 0, 0, Returns::Text, current_user),
    ("current_role", 0, 0, Returns::Text, current_user),
    ("session_user", 0, 0, Returns::Text, current_user),
    ("user", 0, 0, Returns::Text, current_user),
    ("pg_backend_pid", 0, 0, Returns::Int4, pg_backend_pid),
    ("pg_is_in_recovery", 0, 0, Returns::Bool, pg_is_in_recovery),
    ("pg_is_wal_replay_paused", 0, 0, Returns::Bool, pg_is_in_recovery),
    ("pg_my_temp_schema", 0, 0, Returns::Int, no_oid),
    ("txid_current", 0, 0, Returns::Int, txid_current),
    ("pg_current_xact_id", 0, 0, Returns::Int, txid_current),
    ("pg_postmaster_start_time", 0, 0, Returns::Timestamptz, pg_postmaster_start_time),
    ("inet_client_addr", 0, 0, Returns::Text, null_text),
    ("inet_server_addr", 0, 0, Returns::Text, null_text),
    ("pg_tablespace_location", 1, 1, Returns::Text, empty_text),
    ("pg_encoding_to_char", 1, 1, Returns::Text, pg_encoding_to_char),
    ("pg_char_to_encoding", 1, 1, Returns::Int4, pg_char_to_encoding),
    ("getdatabaseencoding", 0, 0, Returns::Text, getdatabaseencoding),
    ("pg_client_encoding", 0, 0, Returns::Text, getdatabaseencoding),
];

fn current_setting(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    let Some(name) = arguments.text(0) else { return maybe_text(None) };
    match facts.setting(name) {
        Some(setting) => text(setting.value.clone()),
        None if arguments.bool(1) == Some(true) => maybe_text(None),
        None => {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            Err(Error::new(SqlState::UNDEFINED_OBJECT, message))
        }
    }
}

fn set_config(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    let Some(name) = arguments.text(0) else {
        return Err(invalid("the name of a setting cannot be NULL".into()));
    };
    let value = arguments.text(1).unwrap_or_default();
    text((facts.session.set_setting)(name, value, arguments.bool(2).unwrap_or(false))?)
}

fn current_schema(facts: &Facts, _: &Arguments<'_>) -> Result<ScalarValue> {
    let known = |schema: &&String| crate::system::facts::schema_oid(schema).is_some();
    maybe_text(facts.session.search_path.iter().find(known).cloned())
}

fn current_schemas(facts: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    let path = facts.session.search_path.iter().map(String::as_str);
    let path = path.filter(|schema| crate::system::facts::schema_oid(schema).is_some());
    let implicit = arguments.bool(0) == Some(true) && !facts.session.search_path.iter().any(|s| s == "pg_catalog");
    texts(implicit.then_some("pg_catalog").into_iter().chain(path))
}

fn current_database(facts: &Facts, _: &Arguments<'_>) -> Result<ScalarValue> {
    text(facts.session.database.clone())
}

fn current_user(facts: &Facts, _: &Arguments<'_>) -> Result<ScalarValue> {
    text(facts.session.user.clone())
}

fn pg_backend_pid(facts: &Facts, _: &Arguments<'_>) -> Result<ScalarValue> {
    Ok(ScalarValue::Int32(Some(facts.session.process_id)))
}

fn pg_is_in_recovery(_: &Facts, _: &Arguments<'_>) -> Result<ScalarValue> {
    boolean(false)
}

fn no_oid(_: &Facts, _: &Arguments<'_>) -> Result<ScalarValue> {
    int(Some(0))
}

/// The commit that a transaction begun now would be the next after.
fn txid_current(facts: &Facts, _: &Arguments<'_>) -> Result<ScalarValue> {
    int(i64::try_from(facts.stats.durable_commit.0).ok())
}

fn pg_postmaster_start_time(facts: &Facts, _: &Arguments<'_>) -> Result<ScalarValue> {
    Ok(ScalarValue::TimestampMicrosecond(Some(facts.stats.started_us), Some("UTC".into())))
}

fn empty_text(_: &Facts, _: &Arguments<'_>) -> Result<ScalarValue> {
    text("")
}

fn pg_encoding_to_char(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    maybe_text(arguments.int(0).map(|encoding| match encoding {
        6 => "UTF8".into(),
        0 => "SQL_ASCII".into(),
        _ => String::new(),
    }))
}

fn pg_char_to_encoding(_: &Facts, arguments: &Arguments<'_>) -> Result<ScalarValue> {
    Ok(ScalarValue::Int32(arguments.text(0).map(|name| match name.to_uppercase().as_str() {
        "UTF8" | "UTF-8" | "UNICODE" => 6,
        "SQL_ASCII" => 0,
        _ => -1,
    })))
}

fn getdatabaseencoding(_: &Facts, _: &Arguments<'_>) -> Result<ScalarValue> {
    text("UTF8")
}
