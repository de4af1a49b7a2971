//! Functions: `pg_proc`. What DataFusion decides by the call (types of arguments and results) is NULL there.

use datafusion::logical_expr::Volatility;

use crate::functions::{FunctionKind, RegisteredFunction, registered_functions};
use crate::system::facts::{Facts, OWNER, PG_CATALOG};
use crate::system::rows::{Rows, row};

/// Below those of system tables.
const FIRST_OID: i64 = 6000;
/// Of the language `internal` in pg_language.
pub const INTERNAL_LANGUAGE: i64 = 12;

pub fn pg_proc(_: &Facts, rows: &mut Rows) {
    for (oid, function) in (FIRST_OID..).zip(registered_functions()) {
        rows.push(row! {
            "oid" => oid, "proname" => function.name.as_str(), "pronamespace" => PG_CATALOG, "proowner" => OWNER,
            "prolang" => INTERNAL_LANGUAGE, "procost" => 1.0, "prorows" => 0.0, "provariadic" => 0, "prosupport" => 0,
            "prokind" => match function.kind {
                FunctionKind::Plain => "f",
                FunctionKind::Aggregate => "a",
                FunctionKind::Window => "w",
            },
            "prosecdef" => false, "proleakproof" => false, "proretset" => false,
            "provolatile" => match function.volatility {
                Volatility::Immutable => "i",
                Volatility::Stable => "s",
                Volatility::Volatile => "v",
            },
            "proparallel" => "s", "prosrc" => function.name.as_str(),
        });
    }
}

pub fn function_by_oid(oid: i64) -> Option<&'static RegisteredFunction> {
    registered_functions().get(usize::try_from(oid.checked_sub(FIRST_OID)?).ok()?)
}

pub fn function_oid(name: &str) -> Option<i64> {
    let at = registered_functions().iter().position(|function| function.name == name)?;
    Some(FIRST_OID + at as i64)
}
