//! What PostgreSQL keeps for a whole server: databases, roles, schemas, settings, sessions.

use super::procedures::INTERNAL_LANGUAGE;
use crate::system::facts::{DATABASE, Facts, OWNER, PG_CATALOG, SCHEMAS};
use crate::system::rows::{Rows, row};

/// pg_encoding_to_char's number of UTF8.
pub const UTF8: i64 = 6;
const DEFAULT_TABLESPACE: i64 = 1663;

pub fn pg_namespace(_: &Facts, rows: &mut Rows) {
    for (name, oid) in SCHEMAS {
        rows.push(row! { "oid" => oid, "nspname" => name, "nspowner" => OWNER });
    }
}

pub fn pg_am(_: &Facts, rows: &mut Rows) {
    rows.push(row! { "oid" => 2, "amname" => "heap", "amhandler" => 0, "amtype" => "t" });
    rows.push(row! { "oid" => 403, "amname" => "btree", "amhandler" => 0, "amtype" => "i" });
}

pub fn pg_database(facts: &Facts, rows: &mut Rows) {
    rows.push(row! {
        "oid" => DATABASE, "datname" => facts.session.database.as_str(), "datdba" => OWNER, "encoding" => UTF8,
        "datlocprovider" => "c", "datistemplate" => false, "datallowconn" => true, "datconnlimit" => -1,
        "datfrozenxid" => 0, "datminmxid" => 0, "dattablespace" => DEFAULT_TABLESPACE, "datcollate" => "C",
        "datctype" => "C.UTF-8",
    });
}

/// pg_roles and pg_authid; each takes the columns that it has.
pub fn pg_roles(facts: &Facts, rows: &mut Rows) {
    rows.push(row! {
        "oid" => OWNER, "rolname" => facts.session.user.as_str(), "rolsuper" => true, "rolinherit" => true,
        "rolcreaterole" => false, "rolcreatedb" => false, "rolcanlogin" => true, "rolreplication" => false,
        "rolconnlimit" => -1, "rolpassword" => "********", "rolbypassrls" => true,
    });
}

pub fn pg_user(facts: &Facts, rows: &mut Rows) {
    rows.push(row! {
        "usename" => facts.session.user.as_str(), "usesysid" => OWNER, "usecreatedb" => false, "usesuper" => true,
        "userepl" => false, "usebypassrls" => true, "passwd" => "********",
    });
}

pub fn pg_tablespace(_: &Facts, rows: &mut Rows) {
    rows.push(row! { "oid" => DEFAULT_TABLESPACE, "spcname" => "pg_default", "spcowner" => OWNER });
}

pub fn pg_collation(_: &Facts, rows: &mut Rows) {
    for (oid, name, provider) in [(100, "default", "d"), (950, "C", "c")] {
        rows.push(row! {
            "oid" => oid, "collname" => name, "collnamespace" => PG_CATALOG, "collowner" => OWNER,
            "collprovider" => provider, "collisdeterministic" => true, "collencoding" => -1,
            "collcollate" => "C", "collctype" => "C",
        });
    }
}

pub fn pg_settings(facts: &Facts, rows: &mut Rows) {
    for setting in &facts.session.settings {
        rows.push(row! {
            "name" => setting.name.as_str(), "setting" => setting.value.as_str(), "category" => "Tidemark",
            "short_desc" => setting.description.as_str(), "context" => "user", "vartype" => "string",
            "source" => if setting.value == setting.default { "default" } else { "session" },
            "boot_val" => setting.default.as_str(), "reset_val" => setting.default.as_str(),
            "pending_restart" => false,
        });
    }
}

/// The session that asks.
pub fn pg_stat_activity(facts: &Facts, rows: &mut Rows) {
    rows.push(row! {
        "datid" => DATABASE, "datname" => facts.session.database.as_str(), "pid" => facts.session.process_id,
        "usesysid" => OWNER, "usename" => facts.session.user.as_str(),
        "application_name" => facts.session.application_name.as_str(), "state" => "active",
        "backend_type" => "client backend",
    });
}

/// The session's own; when each was declared is not kept.
pub fn pg_cursors(facts: &Facts, rows: &mut Rows) {
    for cursor in &facts.session.cursors {
        rows.push(row! {
            "name" => cursor.name.as_str(), "statement" => cursor.declaration.as_str(), "is_holdable" => false,
            "is_binary" => false, "is_scrollable" => false,
        });
    }
}

pub fn pg_language(_: &Facts, rows: &mut Rows) {
    for (oid, name) in [(INTERNAL_LANGUAGE, "internal"), (14, "sql")] {
        rows.push(row! {
            "oid" => oid, "lanname" => name, "lanowner" => OWNER, "lanispl" => false, "lanpltrusted" => name == "sql",
            "lanplcallfoid" => 0, "laninline" => 0, "lanvalidator" => 0,
        });
    }
}
