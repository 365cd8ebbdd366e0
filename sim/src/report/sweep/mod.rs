//! What a sweep says, as text, CSV, JSON, pictures and one page.

mod table;
mod text;

pub use table::{csv, json};
pub use text::text;
