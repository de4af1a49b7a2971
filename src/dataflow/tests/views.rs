//! For tests: plans by hand, rows as the oracle's values, and a worker that runs until it is idle.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::{DFSchema, DFSchemaRef, HashMap};
use datafusion::logical_expr::{Expr, ExprSchemable};
use futures::StreamExt;

use crate::catalog::{CatalogChange, Cutoff, MaterializedView, ViewColumn};
use crate::commit::{Commit, TableDelta, WatermarkAdvance};
use crate::dataflow::build::Dataflow;
use crate::dataflow::checkpoint::PageFiles;
use crate::dataflow::errors::{ErrorDelta, ErrorSet};
use crate::dataflow::state::Residence;
use crate::dataflow::tree::StepInput;
use crate::dataflow::{Backfill, Changelogs, Dataflows, Filling, ViewSnapshot, Worker};
use crate::delta::DeltaBatch;
use crate::error::Result;
use crate::functions::{average_type, sum_type};
use crate::io::Inline;
use crate::plan::{
    AggregateCall, AggregateFunction, MatchKind, Node, RankKind, SetKind, SortDirection, SortKey, ViewPlan,
};
use crate::settings::DataflowSettings;
use crate::testing::SimDisk;
use crate::testing::oracle::{Row, Value};
use crate::testing::values::column_of;
pub use crate::testing::values::rows_of;
use crate::types::{CommitNumber, ROW_ID, RelationId, SqlType};

pub const READINGS: RelationId = RelationId(16384);
pub const DEVICES: RelationId = RelationId(16385);
pub const VIEW: RelationId = RelationId(16390);
pub const VIEW_ABOVE: RelationId = RelationId(16391);
pub const VIEW_ON_TOP: RelationId = RelationId(16392);

pub const TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// device int4, site text, x float8, n int8, time timestamp.
pub fn readings_schema() -> SchemaRef {
    schema(&[
        ("device", DataType::Int32),
        ("site", DataType::Utf8),
        ("x", DataType::Float64),
        ("n", DataType::Int64),
        ("time", TIME),
    ])
}

/// id int4, name text.
pub fn devices_schema() -> SchemaRef {
    schema(&[("id", DataType::Int32), ("name", DataType::Utf8)])
}

pub fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A view's columns, to read it from another one.
pub fn schema_of(plan: &ViewPlan) -> SchemaRef {
    plan.root.schema().inner().clone()
}

fn df_schema(schema: &SchemaRef) -> DFSchemaRef {
    Arc::new(DFSchema::try_from(schema.as_ref().clone()).unwrap())
}

pub fn source(relation: RelationId, schema: &SchemaRef) -> Node {
    Node::Source {
        id: 0,
        relation,
        relation_name: relation.to_string(),
        columns: (0..schema.fields().len()).collect(),
        schema: df_schema(schema),
    }
}

pub fn filter(input: Node, predicate: Expr) -> Node {
    Node::Filter { id: input.id() + 1, input: Box::new(input), predicate }
}

pub fn project(input: Node, exprs: Vec<Expr>) -> Node {
    let fields = exprs
        .iter()
        .map(|expr| Field::new(expr.schema_name().to_string(), expr.get_type(input.schema()).unwrap(), true));
    let schema = df_schema(&Arc::new(Schema::new(fields.collect::<Vec<_>>())));
    Node::Project { id: input.id() + 1, input: Box::new(input), exprs, schema }
}

pub fn join(left: Node, right: Node, on: Vec<(Expr, Expr)>, filter: Option<Expr>) -> Node {
    let schema = Arc::new(left.schema().join(right.schema()).unwrap());
    Node::Join { id: left.id().max(right.id()) + 1, left: Box::new(left), right: Box::new(right), on, filter, schema }
}

pub fn left_join(left: Node, right: Node, on: Vec<(Expr, Expr)>, filter: Option<Expr>) -> Node {
    let schema = Arc::new(left.schema().join(right.schema()).unwrap());
    let id = left.id().max(right.id()) + 1;
    let (left, right) = (Box::new(left), Box::new(right));
    Node::MatchJoin { id, kind: MatchKind::Left, left, right, on, filter, null_aware: false, schema }
}

pub fn match_join(kind: MatchKind, left: Node, right: Node, on: Vec<(Expr, Expr)>, filter: Option<Expr>) -> Node {
    let schema = match kind {
        MatchKind::Left | MatchKind::Full => Arc::new(left.schema().join(right.schema()).unwrap()),
        MatchKind::Semi | MatchKind::Anti => left.schema().clone(),
        MatchKind::Mark => with_columns(&left, &[("mark", DataType::Boolean)]),
    };
    let id = left.id().max(right.id()) + 1;
    let (left, right) = (Box::new(left), Box::new(right));
    Node::MatchJoin { id, kind, left, right, on, filter, null_aware: false, schema }
}

/// `key NOT IN (SELECT other ...)`, or with [`MatchKind::Mark`] whether it is in.
pub fn not_in(kind: MatchKind, left: Node, right: Node, on: (Expr, Expr)) -> Node {
    match match_join(kind, left, right, vec![on], None) {
        Node::MatchJoin { id, kind, left, right, on, filter, schema, .. } => {
            Node::MatchJoin { id, kind, left, right, on, filter, null_aware: true, schema }
        }
        other => other,
    }
}

pub fn set_operation(kind: SetKind, left: Node, right: Node) -> Node {
    let (id, schema) = (left.id().max(right.id()) + 1, left.schema().clone());
    Node::SetOperation { id, kind, left: Box::new(left), right: Box::new(right), schema }
}

/// The node's columns and others behind them.
fn with_columns(node: &Node, columns: &[(&str, DataType)]) -> DFSchemaRef {
    let own = node.schema().fields().iter().map(|field| field.as_ref().clone());
    let others = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    df_schema(&Arc::new(Schema::new(own.chain(others).collect::<Vec<_>>())))
}

/// An expression, whether it descends, whether NULL is first.
pub fn sort_key((expr, descending, nulls_first): (Expr, bool, bool)) -> SortKey {
    SortKey { expr, direction: SortDirection { descending, nulls_first } }
}

/// Of each partition the rows with a rank above `skip` and at most `skip + fetch`, with the rank where `shows_rank`.
pub fn top(
    input: Node,
    partition: Vec<Expr>,
    order: Vec<(Expr, bool, bool)>,
    (kind, skip, fetch): (RankKind, u64, u64),
    shows_rank: bool,
) -> Node {
    let rank: &[(&str, DataType)] = if shows_rank { &[("rank", DataType::Int64)] } else { &[] };
    let (id, schema) = (input.id() + 1, with_columns(&input, rank));
    let (input, order) = (Box::new(input), order.into_iter().map(sort_key).collect());
    Node::Top { id, input, partition, order, kind, skip, fetch, shows_rank, schema }
}

/// Calls of window functions, each with its column's type.
pub fn window(input: Node, calls: Vec<(Expr, DataType)>) -> Node {
    let columns: Vec<(String, DataType)> =
        calls.iter().enumerate().map(|(i, (_, data_type))| (format!("w{i}"), data_type.clone())).collect();
    let columns: Vec<(&str, DataType)> = columns.iter().map(|(name, of)| (name.as_str(), of.clone())).collect();
    let schema = with_columns(&input, &columns);
    let calls = calls.into_iter().map(|(call, _)| call).collect();
    Node::Window { id: input.id() + 1, input: Box::new(input), calls, schema }
}

pub fn union(inputs: Vec<Node>) -> Node {
    let schema = inputs[0].schema().clone();
    let id = inputs.iter().map(Node::id).max().unwrap() + 1;
    Node::Union { id, inputs, schema }
}

/// `keys` columns of group keys; columns from `first_distinct` on are distinct.
pub fn distinct_values(input: Node, keys: usize, first_distinct: usize) -> Node {
    let schema = input.schema().clone();
    Node::DistinctValues { id: input.id() + 1, input: Box::new(input), keys, first_distinct, schema }
}

/// The list in column `column` becomes its elements.
pub fn unnest(input: Node, column: usize) -> Node {
    let fields = input.schema().fields().iter().enumerate().map(|(index, field)| match field.data_type() {
        DataType::List(element) if index == column => {
            Arc::new(Field::new(field.name(), element.data_type().clone(), true))
        }
        _ => field.clone(),
    });
    let schema = df_schema(&Arc::new(Schema::new(fields.collect::<Vec<_>>())));
    Node::Unnest { id: input.id() + 1, input: Box::new(input), column, schema }
}

pub fn aggregate(input: Node, group: Vec<Expr>, calls: Vec<(AggregateFunction, Vec<Expr>)>) -> Node {
    let type_of = |expr: &Expr| expr.get_type(input.schema()).unwrap();
    let call = |(function, args): (AggregateFunction, Vec<Expr>)| {
        let return_type = return_type(function, args.first().map(&type_of));
        AggregateCall { function, args, return_type }
    };
    let aggregates: Vec<AggregateCall> = calls.into_iter().map(call).collect();
    let keys = group.iter().map(|expr| Field::new(expr.schema_name().to_string(), type_of(expr), true));
    let values =
        aggregates.iter().enumerate().map(|(i, call)| Field::new(format!("a{i}"), call.return_type.clone(), true));
    let schema = df_schema(&Arc::new(Schema::new(keys.chain(values).collect::<Vec<_>>())));
    Node::Aggregate { id: input.id() + 1, input: Box::new(input), group, aggregates, schema }
}

fn return_type(function: AggregateFunction, input: Option<DataType>) -> DataType {
    match (function, input) {
        (AggregateFunction::Sum, Some(input)) => sum_type(&input).unwrap(),
        (AggregateFunction::Avg, Some(input)) => average_type(&input).unwrap(),
        (AggregateFunction::VarSamp | AggregateFunction::StddevPop, Some(input)) => average_type(&input).unwrap(),
        (AggregateFunction::CountAll | AggregateFunction::Count, _) => DataType::Int64,
        (AggregateFunction::ArrayAgg { .. }, Some(input)) => {
            DataType::List(Arc::new(Field::new_list_field(input, true)))
        }
        (_, input) => input.unwrap(),
    }
}

/// The operators with ids of their own.
pub fn numbered(root: Node) -> Node {
    fn number(mut node: Node, next: &mut u32) -> Node {
        *node.parts_mut().0 = *next;
        *next += 1;
        node.map_inputs(&mut |input| Ok(number(input, next))).unwrap()
    }
    number(root, &mut 0)
}

pub fn plan(root: Node) -> ViewPlan {
    let column = |field: &Arc<Field>| ViewColumn {
        name: field.name().clone(),
        sql_type: SqlType::from_arrow(field.data_type()).unwrap(),
    };
    let columns = root.schema().fields().iter().map(column).collect();
    ViewPlan { root, columns }
}

pub fn view(id: RelationId, plan: &ViewPlan) -> Arc<MaterializedView> {
    Arc::new(MaterializedView {
        id,
        name: format!("view_{id}"),
        sql: String::new(),
        settings: BTreeMap::new(),
        plan: Vec::new(),
        columns: plan.columns.clone(),
        depends_on: Vec::new(),
        emits_on_close: false,
    })
}

/// Columns of the oracle's values, and `_row_id` behind them.
pub fn batch_of(schema: &SchemaRef, rows: &[Row]) -> RecordBatch {
    let mut columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| column_of(field.data_type(), rows.iter().map(|row| &row[index])))
        .collect();
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(ROW_ID, DataType::Int64, false)));
    columns.push(Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// A worker and its handle; everything pushed is done when a method returns.
pub struct TestWorker {
    pub dataflows: Dataflows,
    runtime: tokio::runtime::Runtime,
    task: tokio::task::JoinHandle<()>,
    commit: u64,
}

impl TestWorker {
    pub fn new(commits_per_step_max: usize) -> Self {
        TestWorker::with_settings(DataflowSettings { commits_per_step_max, ..DataflowSettings::default() })
    }

    pub fn with_settings(settings: DataflowSettings) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // Every other bound of a step is tried with no memory for state at all, and with pieces of a row.
        let has_memory = settings.commits_per_step_max.is_multiple_of(2);
        let residence = Residence::with_store(PageFiles::new(Arc::new(SimDisk::new(1)), &[]).unwrap());
        residence.set_bytes_max(usize::from(!has_memory));
        residence.set_piece_bytes_max(usize::from(!has_memory));
        let (dataflows, worker) = Worker::new(settings, CommitNumber::default());
        let task = runtime.spawn(worker.with_residence(residence).at_time(0).run());
        TestWorker { dataflows, runtime, task, commit: 0 }
    }

    /// One that starts at a commit, with what was kept.
    pub fn with_changelogs(settings: DataflowSettings, changelogs: Changelogs, at: CommitNumber) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (dataflows, worker) = Worker::new(settings, at);
        let task = runtime.spawn(worker.with_changelogs(changelogs).run());
        TestWorker { dataflows, runtime, task, commit: at.0 }
    }

    /// Its process dies, whatever it was at.
    pub fn abort(self) {
        self.task.abort();
        let _ = self.runtime.block_on(self.task);
    }

    pub fn create(
        &self,
        id: RelationId,
        plan: &ViewPlan,
        tables: &[(RelationId, RecordBatch)],
        append_only: bool,
    ) -> Result<()> {
        let backfill: HashMap<RelationId, Backfill> = tables
            .iter()
            .map(|(id, rows)| {
                let rows = futures::stream::iter([Ok(rows.clone())]).boxed();
                (*id, Backfill { rows, append_only, watermark_us: None })
            })
            .collect();
        let done =
            self.dataflows.push_create(view(id, plan), Ok(plan.clone()), Filling { tables: backfill, cutoff: None });
        self.runtime.block_on(done).unwrap()
    }

    pub fn commit(&mut self, deltas: Vec<(RelationId, DeltaBatch)>) {
        self.commit += 1;
        self.dataflows.push_commit(commit(self.commit, deltas));
    }

    /// The same, with how far a table's watermark moved.
    pub fn commit_with(&mut self, deltas: Vec<(RelationId, DeltaBatch)>, watermark: Option<(RelationId, i64)>) {
        self.commit += 1;
        let watermarks = watermark.map(|(table, at_us)| WatermarkAdvance { table, at_us }).into_iter().collect();
        let commit = Commit { watermarks, ..commit(self.commit, deltas).as_ref().clone() };
        self.dataflows.push_commit(Arc::new(commit));
    }

    /// A commit by which rows of a view expire.
    pub fn expire(&mut self, view: RelationId, cutoff: Cutoff) {
        self.commit += 1;
        let catalog = vec![CatalogChange::ExpireView { view, cutoff }];
        self.dataflows.push_commit(Arc::new(Commit { catalog, ..commit(self.commit, vec![]).as_ref().clone() }));
    }

    pub fn read(&self, view: RelationId) -> Result<ViewSnapshot> {
        let (_, mut read) = self.runtime.block_on(self.dataflows.push_read(&[view])).unwrap();
        read.remove(&view).unwrap()
    }

    pub fn rows(&self, view: RelationId) -> Vec<Row> {
        rows_read(&self.read(view).unwrap())
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub fn finish(self) {
        drop(self.dataflows);
        self.runtime.block_on(self.task).unwrap();
    }
}

pub fn rows_read(snapshot: &ViewSnapshot) -> Vec<Row> {
    snapshot.batches(None, 100).flat_map(|batch| rows_of(&batch.unwrap())).collect()
}

pub fn commit(number: u64, deltas: Vec<(RelationId, DeltaBatch)>) -> Arc<Commit> {
    let deltas = deltas.into_iter();
    let tables = deltas.map(|(table, delta)| TableDelta { table, schema_version: 1, delta: Arc::new(delta) });
    Arc::new(Commit {
        number: CommitNumber(number),
        timestamp_us: number as i64,
        tables: tables.collect(),
        catalog: vec![],
        positions: vec![],
        tier: vec![],
        watermarks: vec![],
    })
}

/// One operator, or a few, stepped by hand.
pub struct Stepper {
    dataflow: Dataflow,
    errors: ErrorSet,
    pub residence: Arc<Residence>,
}

impl Stepper {
    pub fn new(root: Node) -> Self {
        let dataflow = Dataflow::build(&plan(root), &BTreeMap::new(), &Default::default(), Arc::new(Inline)).unwrap();
        Stepper { dataflow, errors: ErrorSet::default(), residence: Arc::default() }
    }

    /// Output rows as `+1 | columns`, sorted.
    pub fn step(&mut self, table: RelationId, changes: &[(i64, Row)]) -> Vec<String> {
        let schema = if table == READINGS { readings_schema() } else { devices_schema() };
        let (weights, rows): (Vec<i64>, Vec<Row>) = changes.iter().cloned().unzip();
        let delta = DeltaBatch::new(batch_of(&schema, &rows), weights.into()).unwrap();
        let (mut errors, input) = (ErrorDelta::default(), StepInput::from_iter([(table, vec![delta])]));
        let mut output = Vec::new();
        let mut add = |piece| {
            output.extend::<Vec<DeltaBatch>>(piece);
            Ok(())
        };
        self.dataflow.step(&input, true, &self.residence, &mut errors, &mut add).unwrap();
        self.errors.apply(&errors).unwrap();
        let mut lines = Vec::new();
        for delta in output {
            for (row, values) in rows_of(delta.rows()).iter().enumerate() {
                let values: Vec<String> = values.iter().map(Value::render).collect();
                lines.push(format!("{:+} | {}", delta.weight(row), values.join(" | ")));
            }
        }
        lines.sort();
        lines
    }

    /// Errors as `SQLSTATE message`, each as often as its weight says.
    pub fn errors(&self) -> Vec<String> {
        let line = |error: crate::dataflow::ViewError| {
            std::iter::repeat_n(format!("{} {}", error.state, error.message), error.weight as usize)
        };
        self.errors.iter().unwrap().flat_map(line).collect()
    }
}

/// A reading of nulls but for device, x and n.
pub fn reading(device: i64, x: f64, n: i64) -> Row {
    vec![Value::Integer(device), Value::Null, Value::Float(x), Value::Integer(n), Value::Null]
}
