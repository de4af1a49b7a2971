//! `pg_catalog`: PostgreSQL 15's catalog, as far as clients read it.
//!
//! Columns have PostgreSQL's names, order and types (oids as 64-bit integers). Tables for what Tidemark does not have
//! are there and empty.

mod empty;
mod procedures;
mod relations;
mod server;
mod types;

use super::table::MakeRows;

pub use empty::{EMPTY, never_filled};
pub use procedures::{function_by_oid, function_oid};
pub use types::{ARRAY_IN, TYPES, type_name};

/// Name, columns, rows.
pub const TABLES: &[(&str, &str, Option<MakeRows>)] = &[
    (
        "pg_class",
        "oid:oid relname:name relnamespace:oid reltype:oid reloftype:oid relowner:oid relam:oid relfilenode:oid \
         reltablespace:oid relpages:int4 reltuples:float4 relallvisible:int4 reltoastrelid:oid relhasindex:bool \
         relisshared:bool relpersistence:char relkind:char relnatts:int2 relchecks:int2 relhasrules:bool \
         relhastriggers:bool relhassubclass:bool relrowsecurity:bool relforcerowsecurity:bool relispopulated:bool \
         relreplident:char relispartition:bool relrewrite:oid relfrozenxid:oid relminmxid:oid relacl:text[] \
         reloptions:text[] relpartbound:text",
        Some(relations::pg_class),
    ),
    (
        "pg_attribute",
        "attrelid:oid attname:name atttypid:oid attstattarget:int4 attlen:int2 attnum:int2 attndims:int4 \
         attcacheoff:int4 atttypmod:int4 attbyval:bool attalign:char attstorage:char attcompression:char \
         attnotnull:bool atthasdef:bool atthasmissing:bool attidentity:char attgenerated:char attisdropped:bool \
         attislocal:bool attinhcount:int4 attcollation:oid attacl:text[] attoptions:text[] attfdwoptions:text[] \
         attmissingval:text[]",
        Some(relations::pg_attribute),
    ),
    ("pg_attrdef", "oid:oid adrelid:oid adnum:int2 adbin:text", Some(relations::pg_attrdef)),
    (
        "pg_index",
        "indexrelid:oid indrelid:oid indnatts:int2 indnkeyatts:int2 indisunique:bool indnullsnotdistinct:bool \
         indisprimary:bool indisexclusion:bool indimmediate:bool indisclustered:bool indisvalid:bool \
         indcheckxmin:bool indisready:bool indislive:bool indisreplident:bool indkey:int2[] indcollation:oid[] \
         indclass:oid[] indoption:int2[] indexprs:text indpred:text",
        Some(relations::pg_index),
    ),
    (
        "pg_constraint",
        "oid:oid conname:name connamespace:oid contype:char condeferrable:bool condeferred:bool convalidated:bool \
         conrelid:oid contypid:oid conindid:oid conparentid:oid confrelid:oid confupdtype:char confdeltype:char \
         confmatchtype:char conislocal:bool coninhcount:int4 connoinherit:bool conkey:int2[] confkey:int2[] \
         conpfeqop:oid[] conppeqop:oid[] conffeqop:oid[] confdelsetcols:int2[] conexclop:oid[] conbin:text",
        Some(relations::pg_constraint),
    ),
    (
        "pg_tables",
        "schemaname:name tablename:name tableowner:name tablespace:name hasindexes:bool hasrules:bool \
         hastriggers:bool rowsecurity:bool",
        Some(relations::pg_tables),
    ),
    ("pg_views", "schemaname:name viewname:name viewowner:name definition:text", Some(relations::pg_views)),
    (
        "pg_matviews",
        "schemaname:name matviewname:name matviewowner:name tablespace:name hasindexes:bool ispopulated:bool \
         definition:text",
        Some(relations::pg_matviews),
    ),
    (
        "pg_indexes",
        "schemaname:name tablename:name indexname:name tablespace:name indexdef:text",
        Some(relations::pg_indexes),
    ),
    (
        "pg_stat_user_tables",
        "relid:oid schemaname:name relname:name n_live_tup:int8 n_dead_tup:int8",
        Some(relations::pg_stat_user_tables),
    ),
    (
        "pg_type",
        "oid:oid typname:name typnamespace:oid typowner:oid typlen:int2 typbyval:bool typtype:char typcategory:char \
         typispreferred:bool typisdefined:bool typdelim:char typrelid:oid typsubscript:oid typelem:oid typarray:oid \
         typinput:oid typoutput:oid typreceive:oid typsend:oid typmodin:oid typmodout:oid typanalyze:oid \
         typalign:char typstorage:char typnotnull:bool typbasetype:oid typtypmod:int4 typndims:int4 \
         typcollation:oid typdefaultbin:text typdefault:text typacl:text[]",
        Some(types::pg_type),
    ),
    ("pg_namespace", "oid:oid nspname:name nspowner:oid nspacl:text[]", Some(server::pg_namespace)),
    ("pg_am", "oid:oid amname:name amhandler:oid amtype:char", Some(server::pg_am)),
    (
        "pg_database",
        "oid:oid datname:name datdba:oid encoding:int4 datlocprovider:char datistemplate:bool datallowconn:bool \
         datconnlimit:int4 datfrozenxid:oid datminmxid:oid dattablespace:oid datcollate:text datctype:text \
         daticulocale:text datcollversion:text datacl:text[]",
        Some(server::pg_database),
    ),
    (
        "pg_roles",
        "rolname:name rolsuper:bool rolinherit:bool rolcreaterole:bool rolcreatedb:bool rolcanlogin:bool \
         rolreplication:bool rolconnlimit:int4 rolpassword:text rolvaliduntil:timestamptz rolbypassrls:bool \
         rolconfig:text[] oid:oid",
        Some(server::pg_roles),
    ),
    (
        "pg_authid",
        "oid:oid rolname:name rolsuper:bool rolinherit:bool rolcreaterole:bool rolcreatedb:bool rolcanlogin:bool \
         rolreplication:bool rolbypassrls:bool rolconnlimit:int4 rolpassword:text rolvaliduntil:timestamptz",
        Some(server::pg_roles),
    ),
    (
        "pg_user",
        "usename:name usesysid:oid usecreatedb:bool usesuper:bool userepl:bool usebypassrls:bool passwd:text \
         valuntil:timestamptz useconfig:text[]",
        Some(server::pg_user),
    ),
    ("pg_tablespace", "oid:oid spcname:name spcowner:oid spcacl:text[] spcoptions:text[]", Some(server::pg_tablespace)),
    (
        "pg_collation",
        "oid:oid collname:name collnamespace:oid collowner:oid collprovider:char collisdeterministic:bool \
         collencoding:int4 collcollate:text collctype:text colliculocale:text collversion:text",
        Some(server::pg_collation),
    ),
    (
        "pg_settings",
        "name:text setting:text unit:text category:text short_desc:text extra_desc:text context:text vartype:text \
         source:text min_val:text max_val:text enumvals:text[] boot_val:text reset_val:text sourcefile:text \
         sourceline:int4 pending_restart:bool",
        Some(server::pg_settings),
    ),
    (
        "pg_stat_activity",
        "datid:oid datname:name pid:int4 leader_pid:int4 usesysid:oid usename:name application_name:text \
         client_addr:text client_hostname:text client_port:int4 backend_start:timestamptz xact_start:timestamptz \
         query_start:timestamptz state_change:timestamptz wait_event_type:text wait_event:text state:text \
         backend_xid:oid backend_xmin:oid query_id:int8 query:text backend_type:text",
        Some(server::pg_stat_activity),
    ),
    (
        "pg_proc",
        "oid:oid proname:name pronamespace:oid proowner:oid prolang:oid procost:float4 prorows:float4 \
         provariadic:oid prosupport:oid prokind:char prosecdef:bool proleakproof:bool proisstrict:bool \
         proretset:bool provolatile:char proparallel:char pronargs:int2 pronargdefaults:int2 prorettype:oid \
         proargtypes:oid[] proallargtypes:oid[] proargmodes:text[] proargnames:text[] proargdefaults:text \
         protrftypes:oid[] prosrc:text probin:text prosqlbody:text proconfig:text[] proacl:text[]",
        Some(procedures::pg_proc),
    ),
    (
        "pg_cursors",
        "name:text statement:text is_holdable:bool is_binary:bool is_scrollable:bool creation_time:timestamptz",
        Some(server::pg_cursors),
    ),
    (
        "pg_language",
        "oid:oid lanname:name lanowner:oid lanispl:bool lanpltrusted:bool lanplcallfoid:oid laninline:oid \
         lanvalidator:oid lanacl:text[]",
        Some(server::pg_language),
    ),
];
