//! From a query's syntax to a logical plan, and which plans can be materialized views.

mod errors;
mod output_names;
mod query;
mod relations;
mod view_plan;

pub use query::{plan_query, plan_query_with_parameters};
pub use relations::{Found, RelationLookup, RelationSource, relation_of};
pub use view_plan::{AggregateCall, AggregateFunction, Node, OperatorId, ViewPlan};
