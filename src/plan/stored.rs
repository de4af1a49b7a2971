//! A view's plan as the catalog stores it.
//!
//! ```text
//! "TMVP" | version u16 | crc32 of the body u32 | body (JSON), integers little-endian
//! ```
//!
//! In the body, expressions are DataFusion's protobuf form and schemas an empty Arrow IPC stream with the qualifiers
//! beside it, both in hexadecimal. Functions are stored by name and found again in the registry.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion::common::{DFSchema, DFSchemaRef, TableReference};
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion_proto::bytes::Serializeable;
use serde::{Deserialize, Serialize};

use super::closing::Closing;
use super::view_plan::{
    AggregateCall, AggregateFunction, MatchKind, Node, OperatorId, RankKind, SetKind, SortDirection, SortKey,
    TimeComparison, ViewPlan,
};
use crate::catalog::ViewColumn;
use crate::error::{Error, Result, SqlState};
use crate::functions::{APPROX_COUNT_DISTINCT, BitOperation, Regression, SetFunction, type_name};
use crate::types::RelationId;

const MAGIC: &[u8; 4] = b"TMVP";
/// 2 added the operators left_join, union, distinct_values and unnest. 3 added match_join, which takes the place of
/// left_join, set_operation, top and window. 4 added temporal. 5 added late and close. 6 added repeat. Plans of earlier versions are read as they are.
const VERSION: u16 = 6;
const HEADER_BYTES: usize = 10;

impl ViewPlan {
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let body = StoredPlan { root: store_node(&self.root)?, columns: self.columns.clone() };
        let body = serde_json::to_vec(&body).map_err(Error::internal)?;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// `registry` holds the functions that the plan names.
    ///
    /// Errors: XX001 for damaged bytes, 0A000 for a later version, and for a plan whose functions are not known any more or
    /// give other types now.
    pub fn from_bytes(bytes: &[u8], registry: &SessionState) -> Result<Self> {
        let body = checked_body(bytes)?;
        let stored: StoredPlan = serde_json::from_slice(body).map_err(|error| damaged(&error.to_string()))?;
        let registry = registry.task_ctx();
        let root = load_node(stored.root, &registry)?;
        check_types(&root)?;
        Ok(ViewPlan { root, columns: stored.columns })
    }
}

/// Every expression must have the type that the plan was made with: state and content are laid out by it.
fn check_types(node: &Node) -> Result<()> {
    let (exprs, fields) = match node {
        Node::Project { exprs, schema, .. } => (exprs.as_slice(), schema),
        Node::Aggregate { group, schema, .. } => (group.as_slice(), schema),
        _ => (&[][..], node.schema()),
    };
    if let [input] = node.inputs().as_slice() {
        for (expr, field) in exprs.iter().zip(fields.fields()) {
            let (now, then) = (expr.get_type(input.schema())?, field.data_type());
            if now != *then {
                let detail = format!("{expr} has type {}, and had {}.", type_name(&now), type_name(then));
                return Err(of_another_version("its functions give other types in this version").with_detail(detail));
            }
        }
    }
    node.inputs().into_iter().try_for_each(check_types)
}

fn of_another_version(why: &str) -> Error {
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, why)
}

fn checked_body(bytes: &[u8]) -> Result<&[u8]> {
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("it does not begin as a plan"))?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(|| damaged("it ends early"))?;
    let version = u16::from_le_bytes(*version);
    if !(1..=VERSION).contains(&version) {
        return Err(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("the stored plan of a view has version {version}, this server reads up to version {VERSION}"),
        )
        .with_hint("Start the version of Tidemark that wrote it, or a later one."));
    }
    let (crc, body) = rest.split_first_chunk::<4>().ok_or_else(|| damaged("it ends early"))?;
    if u32::from_le_bytes(*crc) != crc32fast::hash(body) {
        return Err(damaged("its checksum differs"));
    }
    Ok(body)
}

fn damaged(why: &str) -> Error {
    Error::corrupted("the stored plan of a view is damaged").with_detail(format!("It does not read back: {why}."))
}

#[derive(Serialize, Deserialize)]
struct StoredPlan {
    root: StoredNode,
    columns: Vec<ViewColumn>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "operator")]
enum StoredNode {
    Source {
        id: OperatorId,
        relation: RelationId,
        relation_name: String,
        columns: Vec<usize>,
        schema: StoredSchema,
    },
    Filter {
        id: OperatorId,
        input: Box<StoredNode>,
        predicate: Hex,
    },
    Temporal {
        id: OperatorId,
        input: Box<StoredNode>,
        value: Hex,
        comparison: TimeComparison,
        bound: Hex,
    },
    Late {
        id: OperatorId,
        input: Box<StoredNode>,
        window: Hex,
        passed: Hex,
    },
    Close {
        id: OperatorId,
        input: Box<StoredNode>,
        relation: RelationId,
        key: usize,
        bound: Hex,
    },
    Project {
        id: OperatorId,
        input: Box<StoredNode>,
        exprs: Vec<Hex>,
        schema: StoredSchema,
    },
    Join {
        id: OperatorId,
        left: Box<StoredNode>,
        right: Box<StoredNode>,
        on: Vec<(Hex, Hex)>,
        filter: Option<Hex>,
        schema: StoredSchema,
    },
    /// Of version 2 only.
    LeftJoin {
        id: OperatorId,
        left: Box<StoredNode>,
        right: Box<StoredNode>,
        on: Vec<(Hex, Hex)>,
        filter: Option<Hex>,
        schema: StoredSchema,
    },
    MatchJoin {
        id: OperatorId,
        kind: MatchKind,
        left: Box<StoredNode>,
        right: Box<StoredNode>,
        on: Vec<(Hex, Hex)>,
        filter: Option<Hex>,
        null_aware: bool,
        schema: StoredSchema,
    },
    SetOperation {
        id: OperatorId,
        kind: SetKind,
        left: Box<StoredNode>,
        right: Box<StoredNode>,
        schema: StoredSchema,
    },
    Top {
        id: OperatorId,
        input: Box<StoredNode>,
        partition: Vec<Hex>,
        order: Vec<(Hex, SortDirection)>,
        kind: RankKind,
        skip: u64,
        fetch: u64,
        shows_rank: bool,
        schema: StoredSchema,
    },
    Window {
        id: OperatorId,
        input: Box<StoredNode>,
        calls: Vec<Hex>,
        schema: StoredSchema,
    },
    Union {
        id: OperatorId,
        inputs: Vec<StoredNode>,
        schema: StoredSchema,
    },
    DistinctValues {
        id: OperatorId,
        input: Box<StoredNode>,
        keys: usize,
        first_distinct: usize,
        schema: StoredSchema,
    },
    Unnest {
        id: OperatorId,
        input: Box<StoredNode>,
        column: usize,
        schema: StoredSchema,
    },
    Repeat {
        id: OperatorId,
        of: OperatorId,
        input: Box<StoredNode>,
    },
    Aggregate {
        id: OperatorId,
        input: Box<StoredNode>,
        group: Vec<Hex>,
        aggregates: Vec<StoredCall>,
        schema: StoredSchema,
    },
}

#[derive(Serialize, Deserialize)]
struct StoredCall {
    function: String,
    args: Vec<Hex>,
    /// A schema of one field.
    return_type: Hex,
}

#[derive(Serialize, Deserialize)]
struct StoredSchema {
    fields: Hex,
    qualifiers: Vec<Option<String>>,
}

/// Bytes in hexadecimal.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Hex(String);

impl Hex {
    fn of(bytes: &[u8]) -> Hex {
        Hex(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let (pairs, rest) = self.0.as_bytes().as_chunks::<2>();
        let digit = |digit: u8| (digit as char).to_digit(16).map(|digit| digit as u8);
        let byte = |pair: &[u8; 2]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        match bytes {
            Some(bytes) if rest.is_empty() => Ok(bytes),
            _ => Err(damaged("not hexadecimal")),
        }
    }
}

fn store_node(node: &Node) -> Result<StoredNode> {
    Ok(match node {
        Node::Source { id, relation, relation_name, columns, schema } => StoredNode::Source {
            id: *id,
            relation: *relation,
            relation_name: relation_name.clone(),
            columns: columns.clone(),
            schema: store_schema(schema)?,
        },
        Node::Temporal { id, input, value, comparison, bound } => StoredNode::Temporal {
            id: *id,
            input: Box::new(store_node(input)?),
            value: store_expr(value)?,
            comparison: *comparison,
            bound: store_expr(bound)?,
        },
        Node::Late { id, input, window, passed } => StoredNode::Late {
            id: *id,
            input: Box::new(store_node(input)?),
            window: store_expr(window)?,
            passed: store_expr(passed)?,
        },
        Node::Close { id, input, closing } => StoredNode::Close {
            id: *id,
            input: Box::new(store_node(input)?),
            relation: closing.relation,
            key: closing.key,
            bound: store_expr(&closing.bound)?,
        },
        Node::Filter { id, input, predicate } => {
            StoredNode::Filter { id: *id, input: Box::new(store_node(input)?), predicate: store_expr(predicate)? }
        }
        Node::Project { id, input, exprs, schema } => StoredNode::Project {
            id: *id,
            input: Box::new(store_node(input)?),
            exprs: store_exprs(exprs)?,
            schema: store_schema(schema)?,
        },
        Node::Join { id, left, right, on, filter, schema } => StoredNode::Join {
            id: *id,
            left: Box::new(store_node(left)?),
            right: Box::new(store_node(right)?),
            on: store_pairs(on)?,
            filter: filter.as_ref().map(store_expr).transpose()?,
            schema: store_schema(schema)?,
        },
        Node::MatchJoin { id, kind, left, right, on, filter, null_aware, schema } => StoredNode::MatchJoin {
            id: *id,
            kind: *kind,
            left: Box::new(store_node(left)?),
            right: Box::new(store_node(right)?),
            on: store_pairs(on)?,
            filter: filter.as_ref().map(store_expr).transpose()?,
            null_aware: *null_aware,
            schema: store_schema(schema)?,
        },
        Node::SetOperation { id, kind, left, right, schema } => StoredNode::SetOperation {
            id: *id,
            kind: *kind,
            left: Box::new(store_node(left)?),
            right: Box::new(store_node(right)?),
            schema: store_schema(schema)?,
        },
        Node::Top { id, input, partition, order, kind, skip, fetch, shows_rank, schema } => StoredNode::Top {
            id: *id,
            input: Box::new(store_node(input)?),
            partition: store_exprs(partition)?,
            order: order.iter().map(|key| Ok((store_expr(&key.expr)?, key.direction))).collect::<Result<_>>()?,
            kind: *kind,
            skip: *skip,
            fetch: *fetch,
            shows_rank: *shows_rank,
            schema: store_schema(schema)?,
        },
        Node::Window { id, input, calls, schema } => StoredNode::Window {
            id: *id,
            input: Box::new(store_node(input)?),
            calls: store_exprs(calls)?,
            schema: store_schema(schema)?,
        },
        Node::Union { id, inputs, schema } => StoredNode::Union {
            id: *id,
            inputs: inputs.iter().map(store_node).collect::<Result<_>>()?,
            schema: store_schema(schema)?,
        },
        Node::DistinctValues { id, input, keys, first_distinct, schema } => StoredNode::DistinctValues {
            id: *id,
            input: Box::new(store_node(input)?),
            keys: *keys,
            first_distinct: *first_distinct,
            schema: store_schema(schema)?,
        },
        Node::Unnest { id, input, column, schema } => StoredNode::Unnest {
            id: *id,
            input: Box::new(store_node(input)?),
            column: *column,
            schema: store_schema(schema)?,
        },
        Node::Repeat { id, of, input } => StoredNode::Repeat { id: *id, of: *of, input: Box::new(store_node(input)?) },
        Node::Aggregate { id, input, group, aggregates, schema } => StoredNode::Aggregate {
            id: *id,
            input: Box::new(store_node(input)?),
            group: store_exprs(group)?,
            aggregates: aggregates.iter().map(store_call).collect::<Result<_>>()?,
            schema: store_schema(schema)?,
        },
    })
}

fn load_node(node: StoredNode, registry: &TaskContext) -> Result<Node> {
    Ok(match node {
        StoredNode::Source { id, relation, relation_name, columns, schema } => {
            Node::Source { id, relation, relation_name, columns, schema: load_schema(&schema)? }
        }
        StoredNode::Temporal { id, input, value, comparison, bound } => Node::Temporal {
            id,
            input: Box::new(load_node(*input, registry)?),
            value: load_expr(&value, registry)?,
            comparison,
            bound: load_expr(&bound, registry)?,
        },
        StoredNode::Late { id, input, window, passed } => Node::Late {
            id,
            input: Box::new(load_node(*input, registry)?),
            window: load_expr(&window, registry)?,
            passed: load_expr(&passed, registry)?,
        },
        StoredNode::Close { id, input, relation, key, bound } => Node::Close {
            id,
            input: Box::new(load_node(*input, registry)?),
            closing: Closing { relation, key, bound: load_expr(&bound, registry)? },
        },
        StoredNode::Filter { id, input, predicate } => Node::Filter {
            id,
            input: Box::new(load_node(*input, registry)?),
            predicate: load_expr(&predicate, registry)?,
        },
        StoredNode::Project { id, input, exprs, schema } => Node::Project {
            id,
            input: Box::new(load_node(*input, registry)?),
            exprs: load_exprs(&exprs, registry)?,
            schema: load_schema(&schema)?,
        },
        StoredNode::Join { id, left, right, on, filter, schema } => Node::Join {
            id,
            left: Box::new(load_node(*left, registry)?),
            right: Box::new(load_node(*right, registry)?),
            on: load_pairs(&on, registry)?,
            filter: filter.as_ref().map(|filter| load_expr(filter, registry)).transpose()?,
            schema: load_schema(&schema)?,
        },
        StoredNode::LeftJoin { id, left, right, on, filter, schema } => Node::MatchJoin {
            id,
            kind: MatchKind::Left,
            left: Box::new(load_node(*left, registry)?),
            right: Box::new(load_node(*right, registry)?),
            on: load_pairs(&on, registry)?,
            filter: filter.as_ref().map(|filter| load_expr(filter, registry)).transpose()?,
            null_aware: false,
            schema: load_schema(&schema)?,
        },
        StoredNode::MatchJoin { id, kind, left, right, on, filter, null_aware, schema } => Node::MatchJoin {
            id,
            kind,
            left: Box::new(load_node(*left, registry)?),
            right: Box::new(load_node(*right, registry)?),
            on: load_pairs(&on, registry)?,
            filter: filter.as_ref().map(|filter| load_expr(filter, registry)).transpose()?,
            null_aware,
            schema: load_schema(&schema)?,
        },
        StoredNode::SetOperation { id, kind, left, right, schema } => Node::SetOperation {
            id,
            kind,
            left: Box::new(load_node(*left, registry)?),
            right: Box::new(load_node(*right, registry)?),
            schema: load_schema(&schema)?,
        },
        StoredNode::Top { id, input, partition, order, kind, skip, fetch, shows_rank, schema } => Node::Top {
            id,
            input: Box::new(load_node(*input, registry)?),
            partition: load_exprs(&partition, registry)?,
            order: order
                .iter()
                .map(|(expr, direction)| Ok(SortKey { expr: load_expr(expr, registry)?, direction: *direction }))
                .collect::<Result<_>>()?,
            kind,
            skip,
            fetch,
            shows_rank,
            schema: load_schema(&schema)?,
        },
        StoredNode::Window { id, input, calls, schema } => Node::Window {
            id,
            input: Box::new(load_node(*input, registry)?),
            calls: load_exprs(&calls, registry)?,
            schema: load_schema(&schema)?,
        },
        StoredNode::Union { id, inputs, schema } => Node::Union {
            id,
            inputs: inputs.into_iter().map(|input| load_node(input, registry)).collect::<Result<_>>()?,
            schema: load_schema(&schema)?,
        },
        StoredNode::DistinctValues { id, input, keys, first_distinct, schema } => {
            let schema = load_schema(&schema)?;
            if keys > first_distinct || first_distinct > schema.fields().len() {
                return Err(damaged("distinct columns that its schema does not have"));
            }
            Node::DistinctValues { id, input: Box::new(load_node(*input, registry)?), keys, first_distinct, schema }
        }
        StoredNode::Unnest { id, input, column, schema } => {
            let schema = load_schema(&schema)?;
            if column >= schema.fields().len() {
                return Err(damaged("an unnested column that its schema does not have"));
            }
            Node::Unnest { id, input: Box::new(load_node(*input, registry)?), column, schema }
        }
        StoredNode::Repeat { id, of, input } => Node::Repeat { id, of, input: Box::new(load_node(*input, registry)?) },
        StoredNode::Aggregate { id, input, group, aggregates, schema } => Node::Aggregate {
            id,
            input: Box::new(load_node(*input, registry)?),
            group: load_exprs(&group, registry)?,
            aggregates: aggregates.iter().map(|call| load_call(call, registry)).collect::<Result<_>>()?,
            schema: load_schema(&schema)?,
        },
    })
}

fn store_expr(expr: &Expr) -> Result<Hex> {
    Ok(Hex::of(&expr.to_bytes()?))
}

fn store_exprs(exprs: &[Expr]) -> Result<Vec<Hex>> {
    exprs.iter().map(store_expr).collect()
}

fn store_pairs(on: &[(Expr, Expr)]) -> Result<Vec<(Hex, Hex)>> {
    on.iter().map(|(left, right)| Ok((store_expr(left)?, store_expr(right)?))).collect()
}

fn load_pairs(stored: &[(Hex, Hex)], registry: &TaskContext) -> Result<Vec<(Expr, Expr)>> {
    stored.iter().map(|(left, right)| Ok((load_expr(left, registry)?, load_expr(right, registry)?))).collect()
}

fn load_expr(stored: &Hex, registry: &TaskContext) -> Result<Expr> {
    Expr::from_bytes_with_ctx(&stored.bytes()?, registry).map_err(|error| {
        of_another_version("it has an expression that this version does not know").with_detail(error.to_string())
    })
}

fn load_exprs(stored: &[Hex], registry: &TaskContext) -> Result<Vec<Expr>> {
    stored.iter().map(|expr| load_expr(expr, registry)).collect()
}

/// Names in stored plans; never changed, only added to.
const FUNCTIONS: &[(&str, AggregateFunction)] = &[
    ("count_all", AggregateFunction::CountAll),
    ("count", AggregateFunction::Count),
    ("sum", AggregateFunction::Sum),
    ("avg", AggregateFunction::Avg),
    ("min", AggregateFunction::Min),
    ("max", AggregateFunction::Max),
    ("first", AggregateFunction::First),
    ("last", AggregateFunction::Last),
    ("partial_sum", AggregateFunction::PartialSum),
    ("merge_count", AggregateFunction::MergeCount),
    ("merge_sum", AggregateFunction::MergeSum),
    ("merge_avg", AggregateFunction::MergeAvg),
    ("var_samp", AggregateFunction::VarSamp),
    ("var_pop", AggregateFunction::VarPop),
    ("stddev_samp", AggregateFunction::StddevSamp),
    ("stddev_pop", AggregateFunction::StddevPop),
    ("string_agg", AggregateFunction::StringAgg),
    ("array_agg", AggregateFunction::ArrayAgg { distinct: false }),
    ("array_agg_distinct", AggregateFunction::ArrayAgg { distinct: true }),
    ("single_value", AggregateFunction::SingleValue),
    ("bit_and", AggregateFunction::Bits(BitOperation::And)),
    ("bit_or", AggregateFunction::Bits(BitOperation::Or)),
    ("bit_xor", AggregateFunction::Bits(BitOperation::Xor)),
    ("covar_pop", AggregateFunction::Regression(Regression::CovarPop)),
    ("covar_samp", AggregateFunction::Regression(Regression::CovarSamp)),
    ("corr", AggregateFunction::Regression(Regression::Corr)),
    ("regr_slope", AggregateFunction::Regression(Regression::Slope)),
    ("regr_intercept", AggregateFunction::Regression(Regression::Intercept)),
    ("regr_r2", AggregateFunction::Regression(Regression::R2)),
    ("regr_avgx", AggregateFunction::Regression(Regression::AvgX)),
    ("regr_avgy", AggregateFunction::Regression(Regression::AvgY)),
    ("regr_sxx", AggregateFunction::Regression(Regression::Sxx)),
    ("regr_syy", AggregateFunction::Regression(Regression::Syy)),
    ("regr_sxy", AggregateFunction::Regression(Regression::Sxy)),
    ("regr_count", AggregateFunction::Regression(Regression::Count)),
    ("percentile_cont", AggregateFunction::Set(SetFunction::PercentileCont)),
    ("percentile_disc", AggregateFunction::Set(SetFunction::PercentileDisc)),
    ("mode", AggregateFunction::Set(SetFunction::Mode)),
    ("median", AggregateFunction::Set(SetFunction::Median)),
    ("approx_percentile", AggregateFunction::Set(SetFunction::ApproxPercentile)),
    (APPROX_COUNT_DISTINCT, AggregateFunction::ApproxCountDistinct),
];

/// Every aggregate, by its stored name.
#[cfg(test)]
pub fn aggregate_names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(name, _)| *name)
}

fn store_call(call: &AggregateCall) -> Result<StoredCall> {
    let Some((name, _)) = FUNCTIONS.iter().find(|(_, function)| *function == call.function) else {
        return Err(Error::internal(format!("aggregate {:?} has no stored name", call.function)));
    };
    let return_type = Schema::new(vec![Field::new("", call.return_type.clone(), true)]);
    Ok(StoredCall {
        function: name.to_string(),
        args: store_exprs(&call.args)?,
        return_type: Hex::of(&store_fields(&return_type)?),
    })
}

fn load_call(stored: &StoredCall, registry: &TaskContext) -> Result<AggregateCall> {
    let Some((_, function)) = FUNCTIONS.iter().find(|(name, _)| *name == stored.function) else {
        return Err(damaged(&format!("unknown aggregate {}", stored.function)));
    };
    let return_type = load_fields(&stored.return_type.bytes()?)?;
    let return_type: Option<&DataType> = return_type.fields().first().map(|field| field.data_type());
    Ok(AggregateCall {
        function: *function,
        args: load_exprs(&stored.args, registry)?,
        return_type: return_type.ok_or_else(|| damaged("an aggregate without a type"))?.clone(),
    })
}

fn store_schema(schema: &DFSchema) -> Result<StoredSchema> {
    Ok(StoredSchema {
        fields: Hex::of(&store_fields(schema.as_arrow())?),
        qualifiers: schema.iter().map(|(qualifier, _)| qualifier.map(|name| name.to_quoted_string())).collect(),
    })
}

fn load_schema(stored: &StoredSchema) -> Result<DFSchemaRef> {
    let fields = load_fields(&stored.fields.bytes()?)?;
    if fields.fields().len() != stored.qualifiers.len() {
        return Err(damaged("a schema's qualifiers do not match its fields"));
    }
    let qualifiers = stored.qualifiers.iter().map(|name| name.as_deref().map(TableReference::from));
    let fields = qualifiers.zip(fields.fields().iter().cloned()).collect();
    Ok(Arc::new(DFSchema::new_with_metadata(fields, Default::default())?))
}

fn store_fields(schema: &Schema) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    StreamWriter::try_new(&mut bytes, schema)?.finish()?;
    Ok(bytes)
}

fn load_fields(bytes: &[u8]) -> Result<Arc<Schema>> {
    Ok(StreamReader::try_new(bytes, None).map_err(|error| damaged(&error.to_string()))?.schema())
}
