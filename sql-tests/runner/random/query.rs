//! Random queries, typed: what is compared has one type, what is summed is a number.

use super::calls::{AGGREGATES, Call, FRAMED, FUNCTIONS, RANKING};
use super::chance::Chance;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Integer,
    Bigint,
    Float,
    Numeric,
    Text,
    Time,
    Boolean,
    Uuid,
}

/// A column, or an expression over columns.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub of: Type,
}

#[derive(Debug, Clone)]
pub struct Query {
    /// As a view's.
    pub sql: String,
    /// What the view must hold.
    pub ad_hoc: String,
    /// Of its columns c0, c1, ...
    pub types: Vec<Type>,
    pub features: Vec<&'static str>,
    /// Numbers of the views that it reads.
    pub reads: Vec<usize>,
}

pub struct Generator<'a> {
    pub chance: &'a mut Chance,
    /// Views that it may read, and the types of their columns.
    pub views: &'a [(usize, Vec<Type>)],
    /// The types of the common table expression's columns, where the query has one.
    pub with: Option<Vec<Type>>,
    pub reads: Vec<usize>,
    aliases: usize,
    features: Vec<&'static str>,
}

const DEPTH: usize = 2;

/// What queries are made of beside calls.
const FORMS: [&str; 58] = [
    "EMIT ON WINDOW CLOSE",
    "top of each closed window",
    "approx_count_distinct",
    "group by",
    "no group by",
    "having",
    "filter",
    "grouping sets",
    "rollup",
    "cube",
    "union",
    "union all",
    "intersect",
    "intersect all",
    "except",
    "except all",
    "set operation of different types",
    "limit",
    "offset",
    "distinct",
    "distinct on",
    "unnest",
    "with",
    "with read twice",
    "subquery in FROM",
    "view over a view",
    "VALUES",
    "generate_series",
    "TUMBLE",
    "HOP",
    "SESSION",
    "top of each group",
    "extreme of each group",
    "frame of rows",
    "frame of rows so far",
    "frame of everything",
    "frame of a range",
    "frame of an interval",
    "inner join",
    "left join",
    "right join",
    "full join",
    "cross join",
    "null-safe join",
    "residual",
    "exists",
    "not exists",
    "in",
    "not in",
    "in under or",
    "not in under or",
    "scalar subquery",
    "correlated scalar subquery",
    "scalar subquery with LIMIT",
    "scalar subquery by a key",
    "in as a value",
    "exists as a value",
    "lateral",
];

/// Everything that must be tried.
pub fn features() -> impl Iterator<Item = &'static str> {
    let calls = AGGREGATES.iter().chain(&RANKING).chain(&FRAMED).chain(&FUNCTIONS);
    calls.map(|call| call.feature).chain(FORMS)
}

impl<'a> Generator<'a> {
    pub fn new(chance: &'a mut Chance, views: &'a [(usize, Vec<Type>)]) -> Self {
        Generator { chance, views, with: None, reads: Vec::new(), aliases: 0, features: Vec::new() }
    }

    pub fn query(mut self) -> Query {
        let (sql, ad_hoc, types) = match self.chance.once_in(20) {
            true => self.emitted(),
            false => {
                let (sql, types) = self.any_with();
                (sql.clone(), sql, types)
            }
        };
        let mut features = self.features;
        features.sort_unstable();
        features.dedup();
        Query { sql, ad_hoc, types, features, reads: self.reads }
    }

    /// Perhaps with a common table expression.
    fn any_with(&mut self) -> (String, Vec<Type>) {
        let with = if self.chance.once_in(8) {
            self.uses("with");
            let (sql, types) = self.any(1);
            self.with = Some(types);
            format!("WITH w AS ({sql}) ")
        } else {
            String::new()
        };
        let (sql, types) = self.any(DEPTH);
        if sql.matches("w AS t").count() > 1 {
            self.uses("with read twice");
        }
        (format!("{with}{sql}"), types)
    }

    pub fn uses(&mut self, feature: &'static str) {
        self.features.push(feature);
    }

    pub fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    /// A query whose columns are named c0, c1, ...
    pub fn any(&mut self, depth: usize) -> (String, Vec<Type>) {
        match self.chance.below(18) {
            0 | 1 => self.plain(depth),
            2..=5 => self.grouped(depth),
            6 | 7 => self.set_operation(depth),
            8 => self.top(depth),
            9 => self.distinct(depth),
            10..=15 => self.windows(depth),
            16 if self.chance.once_in(2) => self.at_extremes(depth),
            16 => self.ranked(depth),
            _ => self.grouping_sets(depth),
        }
    }

    fn plain(&mut self, depth: usize) -> (String, Vec<Type>) {
        let from = self.relation(depth);
        let mut columns = self.values(&from.columns, 5);
        if self.chance.once_in(2) {
            columns.push(match self.chance.below(4) {
                0 => self.row_of_others(&from.columns),
                1 => self.first_of_others(&from.columns),
                _ => self.among_others(&from.columns),
            });
        } else if self.chance.once_in(5) {
            self.uses("unnest");
            // Alone: DataFusion takes a name in the list for a column of the same name below it.
            columns.truncate(1);
            columns[0].name = format!("unnest(ARRAY[{}, {}])", columns[0].name, literal(columns[0].of));
        }
        let predicate = self.filter(&from.columns, depth);
        (format!("SELECT {} FROM {}{predicate}", named(&columns), from.sql), types(&columns))
    }

    fn grouped(&mut self, depth: usize) -> (String, Vec<Type>) {
        let from = self.relation(depth);
        let keys: Vec<Column> = (0..self.chance.below(3)).map(|_| self.value(&from.columns)).collect();
        let calls: Vec<Column> = (0..1 + self.chance.below(4)).map(|_| self.aggregate(&from.columns)).collect();
        let predicate = self.filter(&from.columns, depth);
        let columns = [keys.clone(), calls.clone()].concat();
        let mut sql = format!("SELECT {} FROM {}{predicate}", named(&columns), from.sql);
        self.uses(if keys.is_empty() { "no group by" } else { "group by" });
        if !keys.is_empty() {
            sql.push_str(&format!(" GROUP BY {}", list(&keys)));
        }
        if self.chance.once_in(8) {
            self.uses("having");
            sql.push_str(" HAVING count(*) <> 2");
        }
        (sql, types(&columns))
    }

    fn grouping_sets(&mut self, depth: usize) -> (String, Vec<Type>) {
        let from = self.relation(depth);
        let (one, other) = (self.column(&from.columns), self.column(&from.columns));
        if one.name == other.name {
            return self.grouped(depth);
        }
        let call = self.aggregate(&from.columns);
        let (kind, feature) = match self.chance.below(3) {
            0 => (format!("ROLLUP ({}, {})", one.name, other.name), "rollup"),
            1 => (format!("CUBE ({}, {})", one.name, other.name), "cube"),
            _ => (format!("GROUPING SETS (({}), ({}))", one.name, other.name), "grouping sets"),
        };
        self.uses(feature);
        let columns = vec![one, other, call];
        let sql = format!("SELECT {} FROM {} GROUP BY {kind}", named(&columns), from.sql);
        (sql, types(&columns))
    }

    /// A view with EMIT ON WINDOW CLOSE, and what it must hold: of rows that were not late, the groups whose window has been passed.
    /// Rows of one write have one number, and the newest time of those before them says what is late.
    fn emitted(&mut self) -> (String, String, Vec<Type>) {
        self.uses("EMIT ON WINDOW CLOSE");
        let (window, from) = *self.chance.one_of(&[
            ("time_bucket('30 seconds', TIME)", "arrivals AS a"),
            ("date_trunc('minute', TIME)", "arrivals AS a"),
            ("tumble_start(TIME, INTERVAL '1 minute')", "TUMBLE(arrivals, ts, INTERVAL '1 minute') AS a"),
        ]);
        let at = |time: &str| window.replace("TIME", time);
        let columns = [("k", Type::Integer), ("kind", Type::Text), ("v", Type::Float), ("ts", Type::Time)];
        let columns = columns.map(|(name, of)| Column { name: format!("a.{name}"), of });
        let own = if from.starts_with("TUMBLE") { "a.window_start".to_owned() } else { at("a.ts") };
        let keys: Vec<Column> = (0..self.chance.below(2)).map(|_| self.column(&columns[..2])).collect();
        let mut calls: Vec<Column> = (0..1 + self.chance.below(2)).map(|_| self.aggregate(&columns)).collect();
        if self.chance.once_in(2) {
            self.uses("approx_count_distinct");
            let name = format!("approx_count_distinct({})", self.column(&columns).name);
            calls.push(Column { name, of: Type::Bigint });
        }
        let condition = self.comparison(&columns);
        let is_filtered = self.chance.once_in(2);
        let selected = |window: &str| {
            let window = vec![Column { name: window.to_owned(), of: Type::Time }];
            let groups = list(&[window.clone(), keys.clone()].concat());
            ([window, keys.clone(), calls.clone()].concat(), groups)
        };
        let (view_columns, groups) = selected(&own);
        let predicate = if is_filtered { format!(" WHERE {condition}") } else { String::new() };
        let view = format!("SELECT {} FROM {from}{predicate} GROUP BY {groups}", named(&view_columns));
        let marked = "SELECT *, max(ts) OVER (ORDER BY w RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) \
             - INTERVAL '20 seconds' AS mark FROM arrivals";
        let (columns, groups) = selected(&at("a.ts"));
        let (window, mark) = (at("a.ts"), at("a.mark"));
        let predicate = if is_filtered { format!(" AND {condition}") } else { String::new() };
        let passed = at("(SELECT max(ts) FROM arrivals) - INTERVAL '20 seconds'");
        let ad_hoc = format!(
            "SELECT {} FROM ({marked}) AS a WHERE (a.mark IS NULL OR {window} >= {mark}){predicate} \
             GROUP BY {groups} HAVING {window} < {passed}",
            named(&columns)
        );
        if !self.chance.once_in(3) {
            return (format!("{view} EMIT ON WINDOW CLOSE"), ad_hoc, types(&columns));
        }
        self.uses("top of each closed window");
        let (count, last) = (columns.len(), columns.len() - 1);
        let first = |query: &str| {
            format!(
                "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY c0 ORDER BY c{last} DESC) AS c{count} \
                 FROM ({query}) AS s) AS r WHERE c{count} <= 2"
            )
        };
        let shown = [types(&columns), vec![Type::Bigint]].concat();
        (format!("{} EMIT ON WINDOW CLOSE", first(&view)), first(&ad_hoc), shown)
    }

    fn set_operation(&mut self, depth: usize) -> (String, Vec<Type>) {
        let (operation, feature) = *self.chance.one_of(&[
            ("UNION", "union"),
            ("UNION ALL", "union all"),
            ("INTERSECT", "intersect"),
            ("INTERSECT ALL", "intersect all"),
            ("EXCEPT", "except"),
            ("EXCEPT ALL", "except all"),
        ]);
        self.uses(feature);
        let of = *self.chance.one_of(&[Type::Text, Type::Bigint, Type::Integer, Type::Float]);
        let mut others = vec![of];
        if matches!(of, Type::Bigint | Type::Integer) && self.chance.once_in(2) {
            self.uses("set operation of different types");
            others = vec![Type::Bigint, Type::Integer, Type::Numeric];
            others.retain(|other| *other != of);
        }
        let other = *self.chance.one_of(&others);
        // Of few rows on the left, or many on the right of EXCEPT, nothing would be left.
        let (thins_left, thins_right) = (operation.starts_with("UNION"), !operation.starts_with("INTERSECT"));
        let (left, right) = (self.with_types(&[of], depth, thins_left), self.with_types(&[other], depth, thins_right));
        let wanted = [if other == Type::Numeric || of == Type::Integer { other } else { of }];
        (format!("{left} {operation} {right}"), wanted.to_vec())
    }

    /// `SELECT c0 ... FROM` with columns of these types.
    fn with_types(&mut self, wanted: &[Type], depth: usize, thins: bool) -> String {
        let from = self.relation(depth.saturating_sub(1));
        let columns: Vec<Column> = wanted
            .iter()
            .map(|of| match from.columns.iter().find(|column| column.of == *of) {
                Some(column) => column.clone(),
                None => Column { name: literal(*of).to_owned(), of: *of },
            })
            .collect();
        let predicate = if thins { self.filter(&from.columns, 0) } else { String::new() };
        format!("SELECT {} FROM {}{predicate}", named(&columns), from.sql)
    }

    fn top(&mut self, depth: usize) -> (String, Vec<Type>) {
        self.uses("limit");
        let from = self.relation(depth);
        let columns = self.values(&from.columns, 3);
        let key = self.value(&from.columns);
        let direction = *self.chance.one_of(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
        let offset = if self.chance.once_in(3) { " OFFSET 1" } else { "" };
        if !offset.is_empty() {
            self.uses("offset");
        }
        let limit = 1 + self.chance.below(4);
        let inner: Vec<Column> = [columns, vec![key]].concat();
        // The key as a column, so that the order is of what is selected.
        let sql = format!(
            "SELECT {} FROM {} ORDER BY c{}{direction} LIMIT {limit}{offset}",
            named(&inner),
            from.sql,
            inner.len() - 1
        );
        (sql, types(&inner))
    }

    fn distinct(&mut self, depth: usize) -> (String, Vec<Type>) {
        let from = self.relation(depth);
        let columns = self.values(&from.columns, 2);
        if self.chance.once_in(2) {
            self.uses("distinct");
            return (format!("SELECT DISTINCT {} FROM {}", named(&columns), from.sql), types(&columns));
        }
        self.uses("distinct on");
        let (key, order) = (self.value(&from.columns), self.column(&from.columns));
        let columns = [vec![key.clone()], columns].concat();
        let sql = format!(
            "SELECT DISTINCT ON ({}) {} FROM {} ORDER BY {}, {} DESC",
            key.name,
            named(&columns),
            from.sql,
            key.name,
            order.name
        );
        (sql, types(&columns))
    }

    fn windows(&mut self, depth: usize) -> (String, Vec<Type>) {
        let from = self.relation(depth);
        let own = self.column(&from.columns);
        let calls: Vec<Column> = (0..1 + self.chance.below(3)).map(|_| self.window_call(&from.columns)).collect();
        let columns = [vec![own], calls].concat();
        let predicate = self.filter(&from.columns, 0);
        (format!("SELECT {} FROM {}{predicate}", named(&columns), from.sql), types(&columns))
    }

    fn window_call(&mut self, columns: &[Column]) -> Column {
        let partition = match self.chance.once_in(4) {
            true => String::new(),
            false => format!("PARTITION BY {} ", self.column(columns).name),
        };
        let mut order = self.column(columns);
        let (call, frame) = match self.chance.once_in(3) {
            true => (self.call(&RANKING, columns), ""),
            false => {
                let call = self.call(&FRAMED, columns);
                let frame = self.frame(columns, &mut order);
                (call, frame)
            }
        };
        let over = format!("OVER ({partition}ORDER BY {}{frame})", order.name);
        let name = match call.name.contains("{over}") {
            true => call.name.replace("{over}", &over),
            false => format!("{} {over}", call.name),
        };
        Column { name, of: call.of }
    }

    /// A frame, and the order that it needs.
    fn frame(&mut self, columns: &[Column], order: &mut Column) -> &'static str {
        let (frame, needs, feature) = *self.chance.one_of(&[
            ("", None, ""),
            (" ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING", None, "frame of rows"),
            (" ROWS 2 PRECEDING", None, "frame of rows"),
            (" ROWS UNBOUNDED PRECEDING", None, "frame of rows so far"),
            (" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING", None, "frame of rows so far"),
            (" ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING", None, "frame of everything"),
            (" RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING", Some(Type::Integer), "frame of a range"),
            (" RANGE BETWEEN 1 FOLLOWING AND 3 FOLLOWING", Some(Type::Integer), "frame of a range"),
            (" RANGE BETWEEN INTERVAL '1 minute' PRECEDING AND CURRENT ROW", Some(Type::Time), "frame of an interval"),
        ]);
        if let Some(needs) = needs {
            let Some(column) = columns.iter().find(|column| column.of == needs) else { return "" };
            *order = column.clone();
        }
        if !feature.is_empty() {
            self.uses(feature);
        }
        frame
    }

    fn ranked(&mut self, depth: usize) -> (String, Vec<Type>) {
        let from = self.relation(depth.saturating_sub(1));
        let function = *self.chance.one_of(&["row_number", "rank", "dense_rank"]);
        self.uses("top of each group");
        let columns = self.values(&from.columns, 2);
        let (partition, order) = (self.column(&from.columns), self.column(&from.columns));
        let alias = self.alias();
        let outer: Vec<Column> = [types(&columns), vec![Type::Bigint]]
            .concat()
            .into_iter()
            .enumerate()
            .map(|(i, of)| Column { name: format!("{alias}.c{i}"), of })
            .collect();
        let place = columns.len();
        let sql = format!(
            "SELECT {} FROM (SELECT {}, {function}() OVER (PARTITION BY {} ORDER BY {}) AS c{place} FROM {}) AS {alias} \
             WHERE c{place} <= {}",
            named(&outer),
            named(&columns),
            partition.name,
            order.name,
            from.sql,
            1 + self.chance.below(2)
        );
        (sql, types(&outer))
    }

    /// Rows that have the greatest or least value of their group, joined with it.
    fn at_extremes(&mut self, depth: usize) -> (String, Vec<Type>) {
        let (rows, of) = if self.chance.once_in(2) { self.grouped(depth.min(1)) } else { self.plain(depth.min(1)) };
        let has_extremes = |of: &Type| !matches!(of, Type::Boolean | Type::Uuid);
        let values: Vec<usize> = (0..of.len()).filter(|place| has_extremes(&of[*place])).collect();
        if values.is_empty() {
            return (rows, of);
        }
        self.uses("extreme of each group");
        let (key, value) = (self.chance.below(of.len()), *self.chance.one_of(&values));
        let (extreme, reached) = *self.chance.one_of(&[("max", "="), ("max", ">="), ("min", "="), ("min", "<=")]);
        let (one, other, groups) = (self.alias(), self.alias(), self.alias());
        let columns = of.iter().enumerate().map(|(i, of)| Column { name: format!("{one}.c{i}"), of: *of });
        let columns: Vec<Column> = columns.chain([Column { name: format!("{groups}.m"), of: of[value] }]).collect();
        let sql = format!(
            "SELECT {} FROM ({rows}) AS {one} JOIN (SELECT {other}.c{key} AS k, {extreme}({other}.c{value}) AS m FROM ({rows}) AS {other} \
             GROUP BY 1) AS {groups} ON {one}.c{key} = {groups}.k AND {one}.c{value} {reached} {groups}.m",
            named(&columns)
        );
        (sql, types(&columns))
    }

    pub fn column(&mut self, columns: &[Column]) -> Column {
        self.chance.one_of(columns).clone()
    }

    /// A column, or a function of columns.
    pub fn value(&mut self, columns: &[Column]) -> Column {
        if self.chance.below(5) < 2 { self.column(columns) } else { self.call(&FUNCTIONS, columns) }
    }

    /// One to `most` values.
    fn values(&mut self, columns: &[Column], most: usize) -> Vec<Column> {
        (0..1 + self.chance.below(most)).map(|_| self.value(columns)).collect()
    }

    fn aggregate(&mut self, columns: &[Column]) -> Column {
        let mut call = self.call(&AGGREGATES, columns);
        if self.chance.once_in(6) {
            self.uses("filter");
            let condition = self.comparison(columns);
            call.name = match call.name.strip_suffix("::text") {
                Some(bare) => format!("(({bare} FILTER (WHERE {condition}))::text)"),
                None => format!("{} FILTER (WHERE {condition})", call.name),
            };
        }
        call
    }

    /// One of those for all of whose arguments there is a column.
    fn call(&mut self, calls: &[Call], columns: &[Column]) -> Column {
        let fits = |call: &&Call| call.takes.iter().all(|takes| columns.iter().any(|column| takes.fits(column.of)));
        let fitting: Vec<&Call> = calls.iter().filter(fits).collect();
        if fitting.is_empty() {
            return self.column(columns);
        }
        let (one, other) = (*self.chance.one_of(&fitting), *self.chance.one_of(&fitting));
        let call = if other.is_seldom_fitting() { other } else { one };
        self.uses(call.feature);
        let mut sql = call.sql.to_owned();
        let mut first = None;
        for (place, takes) in call.takes.iter().enumerate() {
            let fitting: Vec<&Column> = columns.iter().filter(|column| takes.fits(column.of)).collect();
            let column = *self.chance.one_of(&fitting);
            sql = sql.replace(&format!("{{{place}}}"), &column.name);
            first.get_or_insert(column.of);
        }
        Column { name: sql, of: call.gives.of(first) }
    }
}

pub fn literal(of: Type) -> &'static str {
    match of {
        Type::Integer => "2",
        Type::Bigint => "3::bigint",
        Type::Float => "0.2::double precision",
        Type::Numeric => "1.5::numeric(20,4)",
        Type::Text => "'a'",
        Type::Time => "'2026-01-01 00:00:30'::timestamp",
        Type::Boolean => "true",
        Type::Uuid => "'00000000-0000-0000-0000-000000000001'::uuid",
    }
}

fn types(columns: &[Column]) -> Vec<Type> {
    columns.iter().map(|column| column.of).collect()
}

fn list(columns: &[Column]) -> String {
    columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// As a select list with names.
fn named(columns: &[Column]) -> String {
    let columns = columns.iter().enumerate().map(|(i, column)| format!("{} AS c{i}", column.name));
    columns.collect::<Vec<_>>().join(", ")
}
