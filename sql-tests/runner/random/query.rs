//! Random queries, typed: what is compared has one type, what is summed is a number.

use super::chance::Chance;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Integer,
    Bigint,
    Float,
    Numeric,
    Text,
    Time,
    Boolean,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    of: Type,
}

#[derive(Debug, Clone)]
pub struct Query {
    pub sql: String,
    pub features: Vec<&'static str>,
}

/// Something in FROM.
struct Relation {
    sql: String,
    columns: Vec<Column>,
    is_join: bool,
}

pub struct Generator<'a> {
    chance: &'a mut Chance,
    aliases: usize,
    features: Vec<&'static str>,
}

const DEPTH: usize = 2;

impl<'a> Generator<'a> {
    pub fn new(chance: &'a mut Chance) -> Self {
        Generator { chance, aliases: 0, features: Vec::new() }
    }

    pub fn query(mut self) -> Query {
        let (sql, _) = self.any(DEPTH);
        let mut features = self.features;
        features.sort_unstable();
        features.dedup();
        Query { sql, features }
    }

    fn uses(&mut self, feature: &'static str) {
        self.features.push(feature);
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    /// A query whose columns are named c0, c1, ...
    fn any(&mut self, depth: usize) -> (String, Vec<Type>) {
        match self.chance.below(12) {
            0 | 1 => self.plain(depth),
            2..=4 => self.grouped(depth),
            5 => self.set_operation(depth),
            6 => self.top(depth),
            7 => self.distinct(depth),
            8 | 9 => self.windows(depth),
            10 => self.ranked(depth),
            _ => self.grouping_sets(depth),
        }
    }

    fn plain(&mut self, depth: usize) -> (String, Vec<Type>) {
        let from = self.relation(depth);
        let count = 1 + self.chance.below(3);
        let columns: Vec<Column> = (0..count).map(|_| self.expression(&from.columns)).collect();
        let predicate = self.filter(&from.columns, depth);
        (format!("SELECT {} FROM {}{predicate}", named(&columns), from.sql), types(&columns))
    }

    fn grouped(&mut self, depth: usize) -> (String, Vec<Type>) {
        let from = self.relation(depth);
        let keys: Vec<Column> = (0..self.chance.below(3)).map(|_| self.column(&from.columns)).collect();
        let calls: Vec<Column> = (0..1 + self.chance.below(3)).map(|_| self.aggregate(&from.columns)).collect();
        let predicate = self.filter(&from.columns, depth);
        let columns = [keys.clone(), calls.clone()].concat();
        let mut sql = format!("SELECT {} FROM {}{predicate}", named(&columns), from.sql);
        if !keys.is_empty() {
            self.uses("group by");
            sql.push_str(&format!(" GROUP BY {}", list(&keys)));
        }
        if self.chance.once_in(4) {
            self.uses("having");
            sql.push_str(" HAVING count(*) > 1");
        }
        (sql, types(&columns))
    }

    fn grouping_sets(&mut self, depth: usize) -> (String, Vec<Type>) {
        let from = self.relation(depth);
        let (one, other) = (self.column(&from.columns), self.column(&from.columns));
        if one.name == other.name {
            return self.grouped(depth);
        }
        self.uses("grouping sets");
        let call = self.aggregate(&from.columns);
        let kind = match self.chance.below(3) {
            0 => format!("ROLLUP ({}, {})", one.name, other.name),
            1 => format!("CUBE ({}, {})", one.name, other.name),
            _ => format!("GROUPING SETS (({}), ({}))", one.name, other.name),
        };
        let columns = vec![one, other, call];
        let sql = format!("SELECT {} FROM {} GROUP BY {kind}", named(&columns), from.sql);
        (sql, types(&columns))
    }

    fn set_operation(&mut self, depth: usize) -> (String, Vec<Type>) {
        let wanted = [*self.chance.one_of(&[Type::Text, Type::Bigint, Type::Integer, Type::Float])];
        let (left, right) = (self.with_types(&wanted, depth), self.with_types(&wanted, depth));
        let (operation, feature) = *self.chance.one_of(&[
            ("UNION", "union"),
            ("UNION ALL", "union all"),
            ("INTERSECT", "intersect"),
            ("INTERSECT ALL", "intersect all"),
            ("EXCEPT", "except"),
            ("EXCEPT ALL", "except all"),
        ]);
        self.uses(feature);
        (format!("{left} {operation} {right}"), wanted.to_vec())
    }

    /// `SELECT c0 ... FROM` with columns of these types.
    fn with_types(&mut self, wanted: &[Type], depth: usize) -> String {
        let from = self.relation(depth.saturating_sub(1));
        let columns: Vec<Column> = wanted
            .iter()
            .map(|of| match from.columns.iter().find(|column| column.of == *of) {
                Some(column) => column.clone(),
                None => Column { name: literal(*of).to_owned(), of: *of },
            })
            .collect();
        let predicate = self.filter(&from.columns, 0);
        format!("SELECT {} FROM {}{predicate}", named(&columns), from.sql)
    }

    fn top(&mut self, depth: usize) -> (String, Vec<Type>) {
        self.uses("limit");
        let from = self.relation(depth);
        let columns: Vec<Column> = (0..1 + self.chance.below(3)).map(|_| self.column(&from.columns)).collect();
        let key = self.column(&from.columns);
        let direction = *self.chance.one_of(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
        let offset = if self.chance.once_in(3) { " OFFSET 1" } else { "" };
        let limit = self.chance.below(4);
        let inner: Vec<Column> = [columns.clone(), vec![key.clone()]].concat();
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
        let columns: Vec<Column> = (0..1 + self.chance.below(2)).map(|_| self.column(&from.columns)).collect();
        if self.chance.once_in(2) {
            self.uses("distinct");
            return (format!("SELECT DISTINCT {} FROM {}", named(&columns), from.sql), types(&columns));
        }
        self.uses("distinct on");
        let (key, order) = (self.column(&from.columns), self.column(&from.columns));
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
        let calls: Vec<Column> = (0..1 + self.chance.below(2)).map(|_| self.window_call(&from.columns)).collect();
        let columns = [vec![own], calls].concat();
        let predicate = self.filter(&from.columns, 0);
        (format!("SELECT {} FROM {}{predicate}", named(&columns), from.sql), types(&columns))
    }

    fn window_call(&mut self, columns: &[Column]) -> Column {
        let (partition, order, arg) = (self.column(columns), self.column(columns), self.column(columns));
        let partition =
            if self.chance.once_in(4) { String::new() } else { format!("PARTITION BY {} ", partition.name) };
        let over = format!("{partition}ORDER BY {}", order.name);
        let frame = *self.chance.one_of(&[
            "",
            " ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
            " ROWS 2 PRECEDING",
            " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
        ]);
        let (call, of, feature) = match self.chance.below(9) {
            0 => (format!("row_number() OVER ({over})"), Type::Bigint, "row_number"),
            1 => (format!("rank() OVER ({over})"), Type::Bigint, "rank"),
            2 => (format!("dense_rank() OVER ({over})"), Type::Bigint, "dense_rank"),
            3 => (format!("lag({}) OVER ({over})", arg.name), arg.of, "lag"),
            4 => (format!("lead({}, 2) OVER ({over})", arg.name), arg.of, "lead"),
            5 => (format!("first_value({}) OVER ({over}{frame})", arg.name), arg.of, "first_value"),
            6 => (format!("last_value({}) OVER ({over}{frame})", arg.name), arg.of, "last_value"),
            7 => (format!("count({}) OVER ({over}{frame})", arg.name), Type::Bigint, "window count"),
            _ => match columns.iter().find(|column| column.of == Type::Integer) {
                Some(column) => (format!("sum({}) OVER ({over}{frame})", column.name), Type::Bigint, "window sum"),
                None => (format!("ntile(2) OVER ({over})"), Type::Integer, "ntile"),
            },
        };
        self.uses(feature);
        Column { name: call, of }
    }

    fn ranked(&mut self, depth: usize) -> (String, Vec<Type>) {
        let from = self.relation(depth.saturating_sub(1));
        let function = *self.chance.one_of(&["row_number", "rank", "dense_rank"]);
        self.uses("top of each group");
        let columns: Vec<Column> = (0..1 + self.chance.below(2)).map(|_| self.column(&from.columns)).collect();
        let (partition, order) = (self.column(&from.columns), self.column(&from.columns));
        let alias = self.alias();
        let sql = format!(
            "SELECT * FROM (SELECT {}, {function}() OVER (PARTITION BY {} ORDER BY {}) AS place FROM {}) AS {alias} WHERE place <= {}",
            named(&columns),
            partition.name,
            order.name,
            from.sql,
            1 + self.chance.below(2)
        );
        (sql, [types(&columns), vec![Type::Bigint]].concat())
    }

    fn relation(&mut self, depth: usize) -> Relation {
        match self.chance.below(if depth == 0 { 3 } else { 7 }) {
            0..=2 => self.table(),
            3 => {
                self.uses("subquery in FROM");
                let (sql, columns) = self.any(depth - 1);
                let alias = self.alias();
                // Names of computed columns come from the outermost list alone.
                let names = columns.iter().enumerate();
                let columns = names.map(|(i, of)| Column { name: format!("{alias}.c{i}"), of: *of }).collect();
                match sql.contains(" AS place ") {
                    true => self.table(),
                    false => Relation { sql: format!("({sql}) AS {alias}"), columns, is_join: false },
                }
            }
            _ => self.join(depth),
        }
    }

    fn table(&mut self) -> Relation {
        let alias = self.alias();
        let (table, columns): (&str, &[(&str, Type)]) = match self.chance.below(4) {
            0 | 1 => (
                "readings",
                &[
                    ("k", Type::Integer),
                    ("device", Type::Text),
                    ("n", Type::Bigint),
                    ("x", Type::Float),
                    ("p", Type::Numeric),
                    ("ts", Type::Time),
                    ("ok", Type::Boolean),
                ],
            ),
            2 => (
                "devices",
                &[("id", Type::Integer), ("name", Type::Text), ("fleet", Type::Text), ("size", Type::Bigint)],
            ),
            _ => ("events", &[("k", Type::Integer), ("kind", Type::Text), ("v", Type::Float), ("ts", Type::Time)]),
        };
        let columns = columns.iter().map(|(name, of)| Column { name: format!("{alias}.{name}"), of: *of }).collect();
        Relation { sql: format!("{table} AS {alias}"), columns, is_join: false }
    }

    fn join(&mut self, depth: usize) -> Relation {
        let (left, right) = (self.relation(depth - 1), self.relation(depth - 1));
        let (kind, feature) = *self.chance.one_of(&[
            ("JOIN", "inner join"),
            ("JOIN", "inner join"),
            ("LEFT JOIN", "left join"),
            ("RIGHT JOIN", "right join"),
            ("FULL JOIN", "full join"),
            ("CROSS JOIN", "cross join"),
        ]);
        self.uses(feature);
        let columns = [left.columns.clone(), right.columns.clone()].concat();
        let on = match kind {
            "CROSS JOIN" => String::new(),
            _ => {
                let mut on = self.equality(&left.columns, &right.columns);
                if self.chance.once_in(6) {
                    self.uses("null-safe join");
                    on = format!("({})", on.replacen(" = ", " IS NOT DISTINCT FROM ", 1));
                }
                if self.chance.once_in(3) {
                    self.uses("residual");
                    on.push_str(&format!(" AND {}", self.comparison(&columns)));
                }
                format!(" ON {on}")
            }
        };
        // A join on the right needs parentheses.
        let right = if right.is_join { format!("({})", right.sql) } else { right.sql };
        Relation { sql: format!("{} {kind} {right}{on}", left.sql), columns, is_join: true }
    }

    fn equality(&mut self, left: &[Column], right: &[Column]) -> String {
        let pairs: Vec<String> = left
            .iter()
            .flat_map(|one| right.iter().filter(move |other| other.of == one.of).map(move |other| (one, other)))
            .map(|(one, other)| format!("{} = {}", one.name, other.name))
            .collect();
        match pairs.is_empty() {
            true => format!("{} IS NOT NULL", left[0].name),
            false => self.chance.one_of(&pairs).clone(),
        }
    }

    fn filter(&mut self, columns: &[Column], depth: usize) -> String {
        match self.chance.below(6) {
            0 | 1 => String::new(),
            2 | 3 => format!(" WHERE {}", self.comparison(columns)),
            4 => {
                let (one, other) = (self.comparison(columns), self.comparison(columns));
                let word = *self.chance.one_of(&["AND", "OR", "AND NOT", "OR NOT"]);
                format!(" WHERE {one} {word} ({other})")
            }
            _ if depth > 0 => format!(" WHERE {}", self.subquery(columns)),
            _ => String::new(),
        }
    }

    fn subquery(&mut self, columns: &[Column]) -> String {
        let inner = self.table();
        let own = self.column(columns);
        let not = if self.chance.once_in(2) { "NOT " } else { "" };
        match self.chance.below(4) {
            0 => {
                self.uses(if not.is_empty() { "exists" } else { "not exists" });
                let tie = self.equality(&inner.columns, columns);
                format!("{not}EXISTS (SELECT 1 FROM {} WHERE {tie})", inner.sql)
            }
            1 => match inner.columns.iter().find(|column| column.of == own.of) {
                Some(column) => {
                    self.uses(if not.is_empty() { "in" } else { "not in" });
                    format!("{} {not}IN (SELECT {} FROM {})", own.name, column.name, inner.sql)
                }
                None => self.comparison(columns),
            },
            2 => match inner.columns.iter().find(|column| column.of == own.of) {
                Some(column) => {
                    self.uses(if not.is_empty() { "in under or" } else { "not in under or" });
                    let other = self.comparison(columns);
                    format!("{} {not}IN (SELECT {} FROM {}) OR {other}", own.name, column.name, inner.sql)
                }
                None => self.comparison(columns),
            },
            _ => {
                let tie = self.equality(&inner.columns, columns);
                let condition = if self.chance.once_in(2) { format!(" WHERE {tie}") } else { String::new() };
                self.uses(if condition.is_empty() { "scalar subquery" } else { "correlated scalar subquery" });
                match columns.iter().find(|column| column.of == Type::Integer) {
                    Some(column) => {
                        format!("{} <= (SELECT count(*) FROM {}{condition})", column.name, inner.sql)
                    }
                    None => self.comparison(columns),
                }
            }
        }
    }

    fn comparison(&mut self, columns: &[Column]) -> String {
        let column = self.column(columns);
        if self.chance.once_in(5) {
            let not = if self.chance.once_in(2) { "NOT " } else { "" };
            return format!("{} IS {not}NULL", column.name);
        }
        let op = *self.chance.one_of(&["=", "<>", "<", "<=", ">", ">="]);
        match columns.iter().find(|other| other.of == column.of && other.name != column.name) {
            Some(other) if self.chance.once_in(2) => format!("{} {op} {}", column.name, other.name),
            _ => format!("{} {op} {}", column.name, literal(column.of)),
        }
    }

    fn column(&mut self, columns: &[Column]) -> Column {
        self.chance.one_of(columns).clone()
    }

    fn expression(&mut self, columns: &[Column]) -> Column {
        let column = self.column(columns);
        match (self.chance.below(4), column.of) {
            (0, Type::Integer) => Column { name: format!("{} + 1", column.name), of: Type::Integer },
            (0, Type::Text) => Column { name: format!("upper({})", column.name), of: Type::Text },
            (3, of @ (Type::Text | Type::Integer)) => {
                let cast = if of == Type::Text { "text" } else { "integer" };
                Column { name: format!("(jsonb_build_object('k', {})->>'k')::{cast}", column.name), of }
            }
            (0, Type::Float) => Column { name: format!("{} * 2", column.name), of: Type::Float },
            (1, of) => Column { name: format!("coalesce({}, {})", column.name, literal(of)), of },
            (2, of) => Column { name: format!("CASE WHEN {} IS NULL THEN {} END", column.name, literal(of)), of },
            _ => column,
        }
    }

    fn aggregate(&mut self, columns: &[Column]) -> Column {
        let column = self.column(columns);
        let number = matches!(column.of, Type::Integer | Type::Float | Type::Numeric);
        let sum = match column.of {
            Type::Integer => Type::Bigint,
            of => of,
        };
        let average = if column.of == Type::Float { Type::Float } else { Type::Numeric };
        let (call, of, feature) = match self.chance.below(16) {
            0 => ("count(*)".to_owned(), Type::Bigint, "count"),
            1 => (format!("count(DISTINCT {})", column.name), Type::Bigint, "count distinct"),
            2 if number => (format!("sum({})", column.name), sum, "sum"),
            3 if number => (format!("avg({})", column.name), average, "avg"),
            4 if number => (format!("var_pop({})", column.name), average, "variance"),
            5 if column.of == Type::Boolean => (format!("bool_or({})", column.name), Type::Boolean, "bool_or"),
            6 if column.of == Type::Integer => (format!("bit_xor({})", column.name), Type::Integer, "bit_xor"),
            7 if column.of == Type::Float => {
                (format!("covar_pop({}, {})", column.name, column.name), Type::Float, "covariance")
            }
            8 if column.of == Type::Text => {
                (format!("string_agg({0}, ',' ORDER BY {0})", column.name), Type::Text, "string_agg")
            }
            9 => (format!("min({})", column.name), column.of, "min"),
            10 if number => (
                format!("percentile_cont(0.7) WITHIN GROUP (ORDER BY {})", column.name),
                Type::Float,
                "percentile_cont",
            ),
            11 => (
                format!("percentile_disc(0.3) WITHIN GROUP (ORDER BY {} DESC)", column.name),
                column.of,
                "percentile_disc",
            ),
            12 => (format!("mode() WITHIN GROUP (ORDER BY {})", column.name), column.of, "mode"),
            10 => (format!("count({})", column.name), Type::Bigint, "count"),
            13 => (format!("array_agg({0} ORDER BY {0} DESC)::text", column.name), Type::Text, "array_agg"),
            14 => (format!("array_agg(DISTINCT {})::text", column.name), Type::Text, "array_agg distinct"),
            15 => (format!("jsonb_agg({})::text", column.name), Type::Text, "jsonb_agg"),
            _ if column.of == Type::Boolean => ("count(*)".to_owned(), Type::Bigint, "count"),
            _ => (format!("max({})", column.name), column.of, "max"),
        };
        if column.of == Type::Boolean && feature == "min" {
            self.uses("count");
            return Column { name: "count(*)".to_owned(), of: Type::Bigint };
        }
        self.uses(feature);
        Column { name: call, of }
    }
}

fn literal(of: Type) -> &'static str {
    match of {
        Type::Integer => "2",
        Type::Bigint => "3::bigint",
        Type::Float => "0.2::double precision",
        Type::Numeric => "1.5::numeric(20,4)",
        Type::Text => "'a'",
        Type::Time => "'2026-01-01 00:00:30'::timestamp",
        Type::Boolean => "true",
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
