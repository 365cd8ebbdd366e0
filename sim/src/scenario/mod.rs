//! Scenario files: format, loading, diagnostics, JSON Schema, writing.
//!
//! `table` and `fields*` say what a file may hold. `syntax` parses JSON with positions, `set`
//! overrides values, `read` and `scalar` type them by the table, `build*` makes a `Scenario` of them, and all
//! of these report to `diagnostic`. `schema` and `probe` are made from the same table; `write` is
//! the way back. `flink_conf` reads a cluster's own configuration by the same rules, `flink_rules`.

mod build;
mod build_changelog;
mod build_faults;
mod build_job;
mod build_network;
mod build_options;
mod build_rescaling;
mod case;
pub(crate) mod chains;
mod diagnostic;
mod failures;
pub mod features;
mod fields;
mod fields_faults;
mod fields_job;
mod flink_conf;
mod flink_rules;
pub mod generate;
mod given;
mod json_text;
mod load;
pub(crate) mod loops;
pub mod model;
mod probe;
mod read;
mod scalar;
mod schema;
mod set;
pub mod shapes;
mod slips;
pub(crate) mod syntax;
mod table;
mod values;
mod write;

pub(crate) use build_job::CHANNELS_MAX;
pub use case::{CASE_FORMAT, Case, CaseViolation, LoadedCase, is_case, load_case};
pub(crate) use diagnostic::nearest;
pub use diagnostic::{Diagnostic, Diagnostics, Severity, Span};
pub use fields::FORMAT;
pub(crate) use fields::PARALLELISM_MAX;
pub(crate) use fields_job::{EDGES_MAX, OPERATORS_MAX};
pub use flink_conf::{FlinkConf, check_flink_conf};
pub(crate) use json_text::{Json as JsonText, text as json_string};
pub(crate) use load::read_json;
pub use load::{Loaded, SIZE_MAX, load, read_file};
pub use loops::LoopRefusal;
pub use model::Scenario;
pub use probe::{FieldProbe, base, probes};
pub use schema::schema;
pub use set::{Override, OverrideError};
pub(crate) use values::format_bandwidth;
pub(crate) use write::fault_in_words;
pub use write::to_json;
pub(crate) use write::{distribution as distribution_text, span as span_text};
