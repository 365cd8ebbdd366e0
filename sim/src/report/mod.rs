//! What people and programs read: traces as JSON Lines and as a space-time view, the summary of a
//! run as text and as JSON. Nothing here knows a clock, a host or a terminal.

mod columns;
mod explanation;
mod json;
mod line;
mod read_line;
mod sentence;
mod space_time;
mod summary;
pub mod sweep;
pub(crate) mod table;
mod words;

pub use explanation::{explanation_json, explanation_text};
pub use json::summary_json;
pub use line::{Line, Names, Place, lines};
pub use read_line::{LineError, read_line, read_trace};
pub use sentence::sentence;
pub use space_time::{SpaceTime, Style};
pub use summary::summary_text;
