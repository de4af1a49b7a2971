//! What stands in FROM: tables, rows that are written out, windows of time, views, a common table expression, joins, subqueries.

use super::query::{Column, Generator, Type, literal};

/// Something in FROM.
pub struct Relation {
    pub sql: String,
    pub columns: Vec<Column>,
    is_join: bool,
}

type Known = (&'static str, Type);

const READINGS: [Known; 8] = [
    ("k", Type::Integer),
    ("device", Type::Text),
    ("n", Type::Bigint),
    ("x", Type::Float),
    ("p", Type::Numeric),
    ("ts", Type::Time),
    ("ok", Type::Boolean),
    ("u", Type::Uuid),
];
const DEVICES: [Known; 4] =
    [("id", Type::Integer), ("name", Type::Text), ("fleet", Type::Text), ("size", Type::Bigint)];
const EVENTS: [Known; 5] =
    [("k", Type::Integer), ("kind", Type::Text), ("v", Type::Float), ("ts", Type::Time), ("fine", Type::Boolean)];

impl Relation {
    fn known(sql: &str, alias: &str, columns: &[Known]) -> Relation {
        let columns = columns.iter().map(|(name, of)| Column { name: format!("{alias}.{name}"), of: *of }).collect();
        Relation { sql: format!("{sql} AS {alias}"), columns, is_join: false }
    }

    /// Whose columns are c0, c1, ...
    fn numbered(sql: String, alias: &str, types: &[Type]) -> Relation {
        let columns = types.iter().enumerate().map(|(i, of)| Column { name: format!("{alias}.c{i}"), of: *of });
        Relation { columns: columns.collect(), sql: format!("{sql} AS {alias}"), is_join: false }
    }
}

impl Generator<'_> {
    pub fn relation(&mut self, depth: usize) -> Relation {
        match self.chance.below(if depth == 0 { 3 } else { 7 }) {
            0..=2 => self.leaf(),
            3 => {
                self.uses("subquery in FROM");
                let (sql, types) = self.any(depth - 1);
                let alias = self.alias();
                Relation::numbered(format!("({sql})"), &alias, &types)
            }
            _ => self.join(depth),
        }
    }

    fn leaf(&mut self) -> Relation {
        // A query has it to read it, and more than once.
        if self.with.is_some() && self.chance.once_in(2) {
            return self.earlier();
        }
        match self.chance.below(14) {
            0 => self.rows(),
            1 => self.series(),
            2 | 3 => self.windows_of_time(),
            4 | 5 => self.earlier(),
            _ => self.table(),
        }
    }

    pub fn table(&mut self) -> Relation {
        let alias = self.alias();
        match self.chance.below(4) {
            0 | 1 => Relation::known("readings", &alias, &READINGS),
            2 => Relation::known("devices", &alias, &DEVICES),
            _ => Relation::known("events", &alias, &EVENTS),
        }
    }

    fn rows(&mut self) -> Relation {
        self.uses("VALUES");
        let alias = self.alias();
        let sql = format!("(VALUES (1, 'a'), (NULL, 'truck_1'), (2, NULL)) AS {alias}(k, device)");
        let columns = [("k", Type::Integer), ("device", Type::Text)];
        Relation { sql, ..Relation::known("", &alias, &columns) }
    }

    fn series(&mut self) -> Relation {
        self.uses("generate_series");
        let alias = self.alias();
        let sql = format!("(SELECT generate_series(0, {}) AS n)", self.chance.below(4));
        Relation::known(&sql, &alias, &[("n", Type::Integer)])
    }

    fn windows_of_time(&mut self) -> Relation {
        let alias = self.alias();
        let (table, known): (&str, &[Known]) =
            if self.chance.once_in(2) { ("readings", &READINGS) } else { ("events", &EVENTS) };
        let (sql, feature) = match self.chance.below(3) {
            0 => (format!("TUMBLE({table}, ts, INTERVAL '1 minute')"), "TUMBLE"),
            1 => (format!("HOP({table}, ts, INTERVAL '1 minute', INTERVAL '3 minutes')"), "HOP"),
            _ => (format!("SESSION({table}, ts, INTERVAL '1 minute', k)"), "SESSION"),
        };
        self.uses(feature);
        let columns = [known, &[("window_start", Type::Time), ("window_end", Type::Time)]].concat();
        Relation::known(&sql, &alias, &columns)
    }

    /// The common table expression, or a view that is there.
    fn earlier(&mut self) -> Relation {
        let alias = self.alias();
        if let Some(types) = self.with.clone().filter(|_| self.chance.below(4) > 0) {
            return Relation::numbered("w".to_owned(), &alias, &types);
        }
        if self.views.is_empty() {
            return self.table();
        }
        let (number, types) = self.chance.one_of(self.views).clone();
        self.uses("view over a view");
        self.reads.push(number);
        Relation::numbered(format!("v{number}"), &alias, &types)
    }

    fn join(&mut self, depth: usize) -> Relation {
        if self.chance.once_in(8) {
            return self.lateral(depth);
        }
        let (left, right) = (self.relation(depth - 1), self.relation(depth - 1));
        // Every pair of many pairs would be too many rows.
        let of_joins = left.is_join || right.is_join;
        let kinds = [
            ("CROSS JOIN", "cross join"),
            ("JOIN", "inner join"),
            ("JOIN", "inner join"),
            ("LEFT JOIN", "left join"),
            ("RIGHT JOIN", "right join"),
            ("FULL JOIN", "full join"),
        ];
        let (kind, feature) = *self.chance.one_of(&kinds[usize::from(of_joins)..]);
        self.uses(feature);
        let columns = [left.columns.clone(), right.columns.clone()].concat();
        let on = match kind {
            "CROSS JOIN" => String::new(),
            _ => {
                let mut on = match of_joins {
                    true => self.narrow_equality(&left.columns, &right.columns),
                    false => self.equality(&left.columns, &right.columns),
                };
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

    /// A relation, and for each of its rows the first of those that are tied to it.
    fn lateral(&mut self, depth: usize) -> Relation {
        self.uses("lateral");
        let (outer, inner, alias) = (self.relation(depth - 1), self.table(), self.alias());
        let tie = self.equality(&inner.columns, &outer.columns);
        let (values, order) = ([self.column(&inner.columns), self.column(&inner.columns)], self.column(&inner.columns));
        let selected = format!("{} AS c0, {} AS c1", values[0].name, values[1].name);
        let limit = 1 + self.chance.below(2);
        let rows = format!("SELECT {selected} FROM {} WHERE {tie} ORDER BY {} LIMIT {limit}", inner.sql, order.name);
        let (before, behind) = *self.chance.one_of(&[("CROSS JOIN", ""), ("LEFT JOIN", " ON true")]);
        let own = Relation::numbered(format!("LATERAL ({rows})"), &alias, &values.map(|column| column.of));
        let columns = [outer.columns, own.columns].concat();
        Relation { sql: format!("{} {before} {}{behind}", outer.sql, own.sql), columns, is_join: true }
    }

    /// A column of the first of the rows that are tied to these.
    pub fn first_of_others(&mut self, columns: &[Column]) -> Column {
        self.uses("scalar subquery with LIMIT");
        let inner = self.table();
        let tie = self.equality(&inner.columns, columns);
        let (value, order) = (self.column(&inner.columns), self.column(&inner.columns));
        let direction = *self.chance.one_of(&["", " DESC", " DESC NULLS LAST"]);
        let sql = format!(
            "(SELECT {} FROM {} WHERE {tie} ORDER BY {}{direction} LIMIT 1)",
            value.name, inner.sql, order.name
        );
        Column { name: sql, of: value.of }
    }

    /// A column of the one row that has a value of these, if one has.
    pub fn row_of_others(&mut self, columns: &[Column]) -> Column {
        let (inner, alias) = (self.table(), self.alias());
        let (value, order) = (self.column(&inner.columns), self.column(&inner.columns));
        let keys: Vec<&Column> =
            inner.columns.iter().filter(|key| columns.iter().any(|column| column.of == key.of)).collect();
        if keys.is_empty() {
            return self.first_of_others(columns);
        }
        self.uses("scalar subquery by a key");
        let key = (*self.chance.one_of(&keys)).clone();
        let rows = format!(
            "SELECT DISTINCT ON ({0}) {0} AS c0, {1} AS c1 FROM {2} ORDER BY {0}, {3}",
            key.name, value.name, inner.sql, order.name
        );
        let own = Relation::numbered(format!("({rows})"), &alias, &[key.of, value.of]);
        let tie = self.equality(&own.columns[..1], columns);
        Column { name: format!("(SELECT {} FROM {} WHERE {tie})", own.columns[1].name, own.sql), of: value.of }
    }

    /// Whether a value is among those of other rows, or there are some.
    pub fn among_others(&mut self, columns: &[Column]) -> Column {
        let inner = self.table();
        let tie = self.equality(&inner.columns, columns);
        let own = self.column(columns);
        let same = inner.columns.iter().find(|column| column.of == own.of);
        let not = if self.chance.once_in(2) { "NOT " } else { "" };
        let name = match same.filter(|_| !self.chance.once_in(3)) {
            Some(column) => {
                self.uses("in as a value");
                let tied = if self.chance.once_in(2) { format!(" WHERE {tie}") } else { String::new() };
                format!("({} {not}IN (SELECT {} FROM {}{tied}))", own.name, column.name, inner.sql)
            }
            None => {
                self.uses("exists as a value");
                format!("({not}EXISTS (SELECT 1 FROM {} WHERE {tie}))", inner.sql)
            }
        };
        Column { name, of: Type::Boolean }
    }

    /// One that holds for few pairs.
    fn narrow_equality(&mut self, left: &[Column], right: &[Column]) -> String {
        let telling = |columns: &[Column]| -> Vec<Column> {
            columns.iter().filter(|column| column.of != Type::Boolean).cloned().collect()
        };
        let (left, right) = (telling(left), telling(right));
        match left.iter().any(|one| right.iter().any(|other| one.of == other.of)) {
            true => self.equality(&left, &right),
            false => "false".to_owned(),
        }
    }

    pub fn equality(&mut self, left: &[Column], right: &[Column]) -> String {
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

    pub fn filter(&mut self, columns: &[Column], depth: usize) -> String {
        match self.chance.below(11) {
            0..=4 => String::new(),
            5 => format!(" WHERE {}", self.comparison(columns)),
            6 => {
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
        let same = inner.columns.iter().find(|column| column.of == own.of);
        let not = if self.chance.once_in(2) { "NOT " } else { "" };
        match (self.chance.below(7), same) {
            (0 | 1, _) => {
                self.uses(if not.is_empty() { "exists" } else { "not exists" });
                let tie = self.equality(&inner.columns, columns);
                format!("{not}EXISTS (SELECT 1 FROM {} WHERE {tie})", inner.sql)
            }
            (2 | 3, Some(column)) => {
                self.uses(if not.is_empty() { "in" } else { "not in" });
                format!("{} {not}IN (SELECT {} FROM {})", own.name, column.name, inner.sql)
            }
            (4 | 5, Some(column)) => {
                self.uses(if not.is_empty() { "in under or" } else { "not in under or" });
                let other = self.comparison(columns);
                format!("{} {not}IN (SELECT {} FROM {}) OR {other}", own.name, column.name, inner.sql)
            }
            _ => {
                let tie = self.equality(&inner.columns, columns);
                let condition = if self.chance.once_in(2) { format!(" WHERE {tie}") } else { String::new() };
                match columns.iter().find(|column| column.of == Type::Integer) {
                    Some(column) => {
                        let tied = !condition.is_empty();
                        self.uses(if tied { "correlated scalar subquery" } else { "scalar subquery" });
                        format!("{} <= (SELECT count(*) FROM {}{condition})", column.name, inner.sql)
                    }
                    None => self.comparison(columns),
                }
            }
        }
    }

    pub fn comparison(&mut self, columns: &[Column]) -> String {
        let column = self.value(columns);
        if self.chance.once_in(5) {
            let not = if self.chance.once_in(2) { "NOT " } else { "" };
            return format!("({}) IS {not}NULL", column.name);
        }
        // Most values differ from most others, so `=` leaves little.
        let op = *self.chance.one_of(&["=", "<>", "<>", "<>", "<", "<=", ">", ">="]);
        // An expression is not compared with what it is made of: DataFusion takes `k + 1 = k` for an order.
        match columns.iter().find(|other| other.of == column.of && !column.name.contains(&other.name)) {
            Some(other) if self.chance.once_in(2) => format!("({}) {op} {}", column.name, other.name),
            _ => format!("({}) {op} {}", column.name, literal(column.of)),
        }
    }
}
