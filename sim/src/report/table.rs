//! Tables for people: no lines, columns three spaces apart, numbers at the right.

use comfy_table::{CellAlignment, Table, presets};

/// A table with these names of columns.
pub(crate) fn plain(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head);
    table
}

/// The table as text; the columns with numbers are told by their index.
pub(crate) fn text(mut table: Table, has_numbers: impl Fn(usize) -> bool) -> String {
    let count = table.column_count();
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index + 1 == count { 0 } else { 3 }));
        if has_numbers(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let rows = table.lines().map(|row| row.trim_end().to_owned() + "\n");
    rows.collect()
}
