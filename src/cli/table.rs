//! Tables for people: columns as wide as their widest cell, two blanks apart.
//!
//! It cuts nothing and colours nothing. Cells may hold text of strangers: what would command the
//! terminal is escaped here, so that no table can forget it.

use crate::report::escaped;

/// The lines of a table, of which the last `numbers` columns hold numbers and stand to the right. A
/// row may have fewer cells than others.
pub(super) fn table(rows: &[Vec<String>], numbers: usize) -> String {
    let rows: Vec<Vec<_>> =
        rows.iter().map(|row| row.iter().map(|cell| escaped(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    // Filled up by hand: a cell may hold a whole record, and formats take widths of 16 bits only.
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut lines = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let missing = width - cell.chars().count();
            let is_number = column + numbers >= columns;
            if is_number {
                line.push_str(&" ".repeat(missing));
            }
            line.push_str(cell);
            if column + 1 < row.len() {
                line.push_str(&" ".repeat(if is_number { 2 } else { missing + 2 }));
            }
        }
        lines.push_str(line.trim_end());
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells_and_numbers_stand_to_the_right() {
        let row = |cells: &[&str]| cells.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
        let rows = [row(&["destination", "n"]), row(&["büro", "1000"]), row(&["a\u{1b}[2J"])];
        assert_eq!(table(&rows, 1), "destination     n\nbüro         1000\na\\u{1b}[2J\n");
        assert_eq!(table(&rows[..2], 0), "destination  n\nbüro         1000\n");
        assert_eq!(table(&[], 1), "");
        let long = "x".repeat(100_000);
        let rows = [row(&["a", &long]), row(&["bb", "c"])];
        assert_eq!(table(&rows, 0), format!("a   {long}\nbb  c\n"));
    }
}
