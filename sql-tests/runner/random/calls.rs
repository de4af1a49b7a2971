//! What random queries call: aggregates, window functions and functions of one row, each with what it takes and gives.

use super::query::Type;

/// What an argument may be.
#[derive(Debug, Clone, Copy)]
pub enum Takes {
    Any,
    /// What has a least value: everything but booleans and UUIDs.
    Ordered,
    Number,
    /// A number whose square fits a numeric.
    Small,
    Is(Type),
}

#[derive(Debug, Clone, Copy)]
pub enum Gives {
    Is(Type),
    Same,
    Sum,
    Average,
}

/// `{0}` and `{1}` in `sql` are the arguments.
#[derive(Debug)]
pub struct Call {
    pub feature: &'static str,
    pub takes: &'static [Takes],
    pub sql: &'static str,
    pub gives: Gives,
}

impl Takes {
    pub fn fits(self, of: Type) -> bool {
        match self {
            Takes::Any => true,
            Takes::Ordered => !matches!(of, Type::Boolean | Type::Uuid),
            Takes::Number => matches!(of, Type::Integer | Type::Bigint | Type::Float | Type::Numeric),
            Takes::Small => matches!(of, Type::Integer | Type::Float),
            Takes::Is(wanted) => of == wanted,
        }
    }
}

impl Gives {
    /// `first`: the type of the first argument.
    pub fn of(self, first: Option<Type>) -> Type {
        let first = first.unwrap_or(Type::Bigint);
        match (self, first) {
            (Gives::Is(of), _) => of,
            (Gives::Same, of) => of,
            (Gives::Sum | Gives::Average, Type::Float) => Type::Float,
            (Gives::Sum, Type::Integer) => Type::Bigint,
            (Gives::Sum | Gives::Average, _) => Type::Numeric,
        }
    }
}

const fn call(feature: &'static str, takes: &'static [Takes], sql: &'static str, gives: Gives) -> Call {
    Call { feature, takes, sql, gives }
}

use Gives::{Average, Same, Sum};
use Takes::{Any, Number, Ordered, Small};
use Type::{Bigint, Boolean, Float, Integer, Numeric, Text, Time};

pub const AGGREGATES: [Call; 43] = [
    call("count(*)", &[], "count(*)", Gives::Is(Bigint)),
    call("count", &[Any], "count({0})", Gives::Is(Bigint)),
    call("count distinct", &[Any], "count(DISTINCT {0})", Gives::Is(Bigint)),
    call("sum", &[Number], "sum({0})", Sum),
    call("sum distinct", &[Number], "sum(DISTINCT {0})", Sum),
    call("avg", &[Number], "avg({0})", Average),
    call("min", &[Ordered], "min({0})", Same),
    call("max", &[Ordered], "max({0})", Same),
    call("var_pop", &[Small], "var_pop({0})", Average),
    call("var_samp", &[Small], "var_samp({0})", Average),
    call("stddev_pop", &[Small], "stddev_pop({0})", Average),
    call("stddev_samp", &[Small], "stddev_samp({0})", Average),
    call("covar_pop", &[Takes::Is(Float), Small], "covar_pop({0}, {1})", Gives::Is(Float)),
    call("covar_samp", &[Takes::Is(Float), Small], "covar_samp({0}, {1})", Gives::Is(Float)),
    call("corr", &[Takes::Is(Float), Small], "corr({0}, {1})", Gives::Is(Float)),
    call("regr_slope", &[Takes::Is(Float), Small], "regr_slope({0}, {1})", Gives::Is(Float)),
    call("regr_intercept", &[Takes::Is(Float), Small], "regr_intercept({0}, {1})", Gives::Is(Float)),
    call("regr_count", &[Takes::Is(Float), Small], "regr_count({0}, {1})", Gives::Is(Bigint)),
    call("bool_and", &[Takes::Is(Boolean)], "bool_and({0})", Gives::Is(Boolean)),
    call("bool_or", &[Takes::Is(Boolean)], "bool_or({0})", Gives::Is(Boolean)),
    call("bit_and", &[Takes::Is(Integer)], "bit_and({0})", Gives::Is(Integer)),
    call("bit_or", &[Takes::Is(Integer)], "bit_or({0})", Gives::Is(Integer)),
    call("bit_xor", &[Takes::Is(Integer)], "bit_xor({0})", Gives::Is(Integer)),
    call("string_agg", &[Takes::Is(Text)], "string_agg({0}, ',' ORDER BY {0})", Gives::Is(Text)),
    call(
        "string_agg in another order",
        &[Takes::Is(Text), Any],
        "string_agg({0}, ',' ORDER BY {1} DESC)",
        Gives::Is(Text),
    ),
    call("string_agg distinct", &[Takes::Is(Text)], "string_agg(DISTINCT {0}, '|')", Gives::Is(Text)),
    call("array_agg", &[Any], "array_agg({0} ORDER BY {0} DESC)::text", Gives::Is(Text)),
    call("array_agg in another order", &[Any, Any], "array_agg({0} ORDER BY {1})::text", Gives::Is(Text)),
    call("array_agg distinct", &[Any], "array_agg(DISTINCT {0})::text", Gives::Is(Text)),
    call("jsonb_agg", &[Any], "jsonb_agg({0})::text", Gives::Is(Text)),
    call("jsonb_agg in another order", &[Any, Any], "jsonb_agg({0} ORDER BY {1})::text", Gives::Is(Text)),
    call(
        "jsonb_object_agg",
        &[Takes::Is(Text), Any],
        "jsonb_object_agg(coalesce({0}, ''), {1})::text",
        Gives::Is(Text),
    ),
    call("first by time", &[Any, Takes::Is(Time)], "first({0}, {1})", Same),
    call("last by time", &[Any, Takes::Is(Time)], "last({0}, {1})", Same),
    call("mode", &[Any], "mode() WITHIN GROUP (ORDER BY {0})", Same),
    call("median", &[Number], "median({0})", Gives::Is(Float)),
    call("percentile_cont", &[Number], "percentile_cont(0.7) WITHIN GROUP (ORDER BY {0})", Gives::Is(Float)),
    call(
        "percentile_cont from above",
        &[Number],
        "percentile_cont(0.2) WITHIN GROUP (ORDER BY {0} DESC)",
        Gives::Is(Float),
    ),
    call("percentile_disc", &[Ordered], "percentile_disc(0.3) WITHIN GROUP (ORDER BY {0} DESC)", Same),
    call("approx_percentile", &[Number], "approx_percentile({0}, 0.9)", Gives::Is(Float)),
    call("min of a text and a number", &[Any, Number], "min({0}::text || {1}::text)", Gives::Is(Text)),
    call("count of a condition", &[Any, Any], "count({0} IS NULL OR {1} IS NOT NULL)", Gives::Is(Bigint)),
    call("sum of a case", &[Any], "sum(CASE WHEN {0} IS NULL THEN 1 ELSE 2 END)", Gives::Is(Bigint)),
];

impl Call {
    /// Whether few relations have a column that it takes.
    pub fn is_seldom_fitting(&self) -> bool {
        self.takes.iter().any(|takes| matches!(takes, Takes::Is(Type::Uuid | Numeric | Boolean | Time | Float)))
    }
}

/// Behind each stands `OVER (...)`, or where it says `{over}`; those of `FRAMED` may have a frame.
pub const RANKING: [Call; 8] = [
    call("row_number", &[], "row_number()", Gives::Is(Bigint)),
    call("rank", &[], "rank()", Gives::Is(Bigint)),
    call("dense_rank", &[], "dense_rank()", Gives::Is(Bigint)),
    call("ntile", &[], "ntile(3)", Gives::Is(Integer)),
    call("lag", &[Any], "lag({0})", Same),
    call("lag by two", &[Any], "lag({0}, 2)", Same),
    call("lead", &[Any], "lead({0}, 2)", Same),
    call("lead with a default", &[Takes::Is(Integer)], "lead({0}, 1, -5)", Same),
];

pub const FRAMED: [Call; 26] = [
    call("first_value", &[Any], "first_value({0})", Same),
    call("last_value", &[Any], "last_value({0})", Same),
    call("nth_value", &[Any], "nth_value({0}, 2)", Same),
    call("window bit_and", &[Takes::Is(Integer)], "bit_and({0})", Gives::Is(Integer)),
    call("window bit_or", &[Takes::Is(Integer)], "bit_or({0})", Gives::Is(Integer)),
    call("window string_agg", &[Takes::Is(Text)], "string_agg({0}, ',')", Gives::Is(Text)),
    call("window array_agg", &[Any], "(array_agg({0}) {over})::text", Gives::Is(Text)),
    call("window jsonb_agg", &[Any], "(jsonb_agg({0}) {over})::text", Gives::Is(Text)),
    call("window median", &[Number], "median({0})", Gives::Is(Float)),
    call("window filter", &[Any, Takes::Is(Integer)], "count({0}) FILTER (WHERE {1} > 1)", Gives::Is(Bigint)),
    call(
        "window array_agg filter",
        &[Any, Takes::Is(Integer)],
        "(array_agg({0}) FILTER (WHERE {1} > 1) {over})::text",
        Gives::Is(Text),
    ),
    call("window count(*)", &[], "count(*)", Gives::Is(Bigint)),
    call("window count", &[Any], "count({0})", Gives::Is(Bigint)),
    call("window sum", &[Number], "sum({0})", Sum),
    call("window avg", &[Number], "avg({0})", Average),
    call("window min", &[Ordered], "min({0})", Same),
    call("window max", &[Ordered], "max({0})", Same),
    call("window var_samp", &[Small], "var_samp({0})", Average),
    call("window stddev_pop", &[Small], "stddev_pop({0})", Average),
    call("window bool_and", &[Takes::Is(Boolean)], "bool_and({0})", Gives::Is(Boolean)),
    call("window bool_or", &[Takes::Is(Boolean)], "bool_or({0})", Gives::Is(Boolean)),
    call("window bit_xor", &[Takes::Is(Integer)], "bit_xor({0})", Gives::Is(Integer)),
    call("window covar_pop", &[Takes::Is(Float), Small], "covar_pop({0}, {1})", Gives::Is(Float)),
    call("window corr", &[Takes::Is(Float), Small], "corr({0}, {1})", Gives::Is(Float)),
    call("window regr_slope", &[Takes::Is(Float), Small], "regr_slope({0}, {1})", Gives::Is(Float)),
    call("window regr_count", &[Takes::Is(Float), Small], "regr_count({0}, {1})", Gives::Is(Bigint)),
];

pub const FUNCTIONS: [Call; 62] = [
    call("uuid as text", &[Takes::Is(Type::Uuid)], "{0}::text", Gives::Is(Text)),
    call("+", &[Takes::Is(Integer)], "{0} + 1", Same),
    call("%", &[Takes::Is(Integer)], "{0} % 3", Same),
    call("% of bigint", &[Takes::Is(Bigint)], "{0} % 7", Same),
    call("/", &[Takes::Is(Integer)], "{0} / 2", Same),
    call("/ of bigint", &[Takes::Is(Bigint)], "{0} / 2", Same),
    call("* of float", &[Takes::Is(Float)], "{0} * 2", Same),
    call("* of numeric", &[Takes::Is(Numeric)], "{0} * 1", Same),
    call("-", &[Takes::Is(Integer)], "-{0}", Same),
    call("abs", &[Small], "abs({0})", Same),
    call("floor", &[Takes::Is(Float)], "floor({0})", Same),
    call("round", &[Takes::Is(Float)], "round({0})", Same),
    call("round of numeric", &[Takes::Is(Numeric)], "round({0}, 1)", Same),
    call("trunc of numeric", &[Takes::Is(Numeric)], "trunc({0})", Same),
    call("sqrt", &[Takes::Is(Float)], "sqrt(abs({0}))", Same),
    call("sign", &[Takes::Is(Float)], "sign({0})", Same),
    call("greatest", &[Takes::Is(Integer), Takes::Is(Integer)], "greatest({0}, {1}, 1)", Same),
    call("least", &[Takes::Is(Text), Takes::Is(Text)], "least({0}, {1})", Same),
    call("number as text", &[Number], "{0}::text", Gives::Is(Text)),
    call("integer as float", &[Takes::Is(Integer)], "{0}::double precision", Gives::Is(Float)),
    call("integer as bigint", &[Takes::Is(Integer)], "{0}::bigint", Gives::Is(Bigint)),
    call("integer as numeric", &[Takes::Is(Integer)], "{0}::numeric(20,4)", Gives::Is(Numeric)),
    call("integer in text and back", &[Takes::Is(Integer)], "({0}::text || '0')::integer", Gives::Is(Integer)),
    call("to_char", &[Takes::Is(Integer)], "to_char({0}, 'S099')", Gives::Is(Text)),
    call("between", &[Takes::Is(Integer)], "{0} BETWEEN 1 AND 3", Gives::Is(Boolean)),
    call("in a list", &[Takes::Is(Text)], "{0} IN ('a', 'truck_1', '')", Gives::Is(Boolean)),
    call("not in a list", &[Takes::Is(Bigint)], "{0} NOT IN (1, 2, 9223372036854775807)", Gives::Is(Boolean)),
    call("is distinct from", &[Takes::Is(Float), Takes::Is(Float)], "{0} IS DISTINCT FROM {1} * 2", Gives::Is(Boolean)),
    call("||", &[Takes::Is(Text)], "{0} || '-'", Same),
    call("upper", &[Takes::Is(Text)], "upper({0})", Same),
    call("length", &[Takes::Is(Text)], "length({0})", Gives::Is(Integer)),
    call("left", &[Takes::Is(Text)], "left({0}, 2)", Same),
    call("substring", &[Takes::Is(Text)], "substring({0} FROM 2 FOR 3)", Same),
    call("position", &[Takes::Is(Text)], "position('_' IN {0})", Gives::Is(Integer)),
    call("replace", &[Takes::Is(Text)], "replace({0}, 'truck', 'van')", Same),
    call("lpad", &[Takes::Is(Text)], "lpad({0}, 4, '*')", Same),
    call("split_part", &[Takes::Is(Text)], "split_part({0}, '_', 2)", Same),
    call("reverse", &[Takes::Is(Text)], "reverse({0})", Same),
    call("concat_ws", &[Takes::Is(Text), Takes::Is(Text)], "concat_ws('/', {0}, {1})", Same),
    call("md5", &[Takes::Is(Text)], "md5({0})", Same),
    call("regexp_replace", &[Takes::Is(Text)], "regexp_replace({0}, '[0-9]+', '#')", Same),
    call("~", &[Takes::Is(Text)], "{0} ~ '^t.*1$'", Gives::Is(Boolean)),
    call("like", &[Takes::Is(Text)], "{0} LIKE 't%\\_2'", Gives::Is(Boolean)),
    call("uuid", &[Takes::Is(Text)], "md5({0})::uuid::text", Same),
    call("nullif", &[Takes::Is(Text)], "nullif({0}, 'a')", Same),
    call("coalesce", &[Takes::Is(Integer), Takes::Is(Integer)], "coalesce({0}, {1}, 0)", Same),
    call(
        "case",
        &[Any, Takes::Is(Integer)],
        "CASE WHEN {0} IS NULL THEN {1} WHEN {1} = 2 THEN 7 END",
        Gives::Is(Integer),
    ),
    call(
        "case of values",
        &[Takes::Is(Text)],
        "CASE {0} WHEN 'a' THEN 1 WHEN '' THEN 2 ELSE 3 END",
        Gives::Is(Integer),
    ),
    call("not", &[Takes::Is(Boolean)], "(NOT {0})", Same),
    call("is true", &[Takes::Is(Boolean)], "({0} IS TRUE)", Same),
    call("boolean as text", &[Takes::Is(Boolean)], "{0}::text", Gives::Is(Text)),
    call("date_trunc", &[Takes::Is(Time)], "date_trunc('minute', {0})", Same),
    call("time_bucket", &[Takes::Is(Time)], "time_bucket('5 minutes', {0})", Same),
    call("extract", &[Takes::Is(Time)], "extract(epoch FROM {0})", Gives::Is(Numeric)),
    call("time + interval", &[Takes::Is(Time)], "{0} + INTERVAL '1 month 2 days'", Same),
    call("time - time", &[Takes::Is(Time)], "({0} - '2026-01-01'::timestamp)::text", Gives::Is(Text)),
    call("time as date", &[Takes::Is(Time)], "{0}::date::text", Gives::Is(Text)),
    call("to_char of time", &[Takes::Is(Time)], "to_char({0}, 'YYYY-MM-DD HH24:MI')", Gives::Is(Text)),
    call("jsonb and back", &[Takes::Is(Integer)], "(jsonb_build_object('k', {0})->>'k')::integer", Same),
    call("jsonb path", &[Takes::Is(Text)], "jsonb_build_object('k', jsonb_build_array({0})) #>> '{k,0}'", Same),
    call("jsonb contains", &[Any], "jsonb_build_array({0}) @> '[null]'", Gives::Is(Boolean)),
    call("to_jsonb", &[Any], "to_jsonb({0})::text", Gives::Is(Text)),
];
