//! Privileges: there is one role, and it may do everything.

use datafusion::common::ScalarValue;

use super::call::{Arguments, Entry, Returns, boolean};
use crate::error::Result;
use crate::system::facts::Facts;

pub const FUNCTIONS: &[Entry] = &[
    ("has_table_privilege", 2, 3, Returns::Bool, allowed),
    ("has_any_column_privilege", 2, 3, Returns::Bool, allowed),
    ("has_column_privilege", 3, 4, Returns::Bool, allowed),
    ("has_schema_privilege", 2, 3, Returns::Bool, allowed),
    ("has_database_privilege", 2, 3, Returns::Bool, allowed),
    ("has_function_privilege", 2, 3, Returns::Bool, allowed),
    ("has_sequence_privilege", 2, 3, Returns::Bool, allowed),
    ("has_type_privilege", 2, 3, Returns::Bool, allowed),
    ("has_tablespace_privilege", 2, 3, Returns::Bool, allowed),
    ("has_language_privilege", 2, 3, Returns::Bool, allowed),
    ("has_server_privilege", 2, 3, Returns::Bool, allowed),
    ("has_foreign_data_wrapper_privilege", 2, 3, Returns::Bool, allowed),
    ("pg_has_role", 2, 3, Returns::Bool, allowed),
    ("row_security_active", 1, 1, Returns::Bool, refused),
];

fn allowed(_: &Facts, _: &Arguments<'_>) -> Result<ScalarValue> {
    boolean(true)
}

fn refused(_: &Facts, _: &Arguments<'_>) -> Result<ScalarValue> {
    boolean(false)
}
