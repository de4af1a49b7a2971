//! From a query's syntax to a logical plan, and which plans can be materialized views.
//!
//! ```text
//! query       names and types -> LogicalPlan, for both executions
//! view        the plan with rules of its own -> lower -> ViewPlan
//! stored      ViewPlan <-> bytes of the catalog;  explain, state  ViewPlan -> text
//! ```
//!
//! Holds no handles: what a name stands for is asked of a [`RelationLookup`].

mod clauses;
mod closing;
mod eager;
mod errors;
mod expiring;
mod explain;
mod filters;
mod improving;
mod in_values;
mod lateral;
mod lateral_first;
mod lower;
mod origin;
mod output_names;
mod own_extremes;
mod quantified;
mod query;
mod reach;
mod relations;
mod repeated;
mod rising;
mod scalar_first;
mod scalars;
mod state;
mod stored;
mod ties;
mod view;
mod view_plan;

pub use clauses::{ACCEPTED, REFUSED, ViewClause};
pub use closing::{Closing, TABLE_WATERMARK, close_windows, come_at_once, only_closed};
pub use eager::aggregate_eagerly;
pub use errors::{at_literal, plan_error};
pub use expiring::Expiring;
pub use improving::only_improves;
pub use output_names::name_output;
pub use query::{plan_query, plan_query_with_parameters};
pub use reach::{Distance, Frames, Reach, Running};
pub use relations::{Found, RelationLookup, RelationSource, relation_of};
pub use state::{Relations, StateReport};
#[cfg(test)]
pub use stored::aggregate_names;
pub use view::{plan_view, plan_view_again};
pub use view_plan::{
    AggregateCall, AggregateFunction, MatchKind, Node, OperatorId, RankKind, SetKind, SortDirection, SortKey,
    TimeComparison, ViewPlan,
};
