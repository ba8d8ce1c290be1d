//! A table in Markdown, aligned for reading on a terminal.

use std::fmt::Write as _;

/// The table with these heads and rows, each row as long as the heads.
pub fn markdown<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = heads.map(|head| head.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut table = String::new();
    let mut line = |cells: &[String; N]| {
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(table, "| {cell}{} ", " ".repeat(width - cell.chars().count()));
        }
        table.push_str("|\n");
    };
    line(&heads.map(str::to_owned));
    line(&widths.map(|width| "-".repeat(width)));
    rows.iter().for_each(line);
    table
}

#[test]
fn columns_are_as_wide_as_their_widest_cell() {
    let rows = [["x".to_owned(), "y".to_owned()], ["→→→".to_owned(), String::new()]];
    let expected = "| a   | bb |\n| --- | -- |\n| x   | y  |\n| →→→ |    |\n";
    assert_eq!(markdown(["a", "bb"], &rows), expected);
}
