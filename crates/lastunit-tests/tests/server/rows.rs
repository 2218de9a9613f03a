//! The table of bad input and attacks in SECURITY.md, held against the tests: every row names tests that exist, or says
//! what is missing; and every test that is named after a row stands in it.

use std::collections::BTreeSet;

const SECURITY: &str = include_str!("../../../../SECURITY.md");
const TESTS: [&str; 9] = [
    include_str!("logs.rs"),
    include_str!("rate_limits.rs"),
    include_str!("rows_bodies.rs"),
    include_str!("rows_buyers.rs"),
    include_str!("rows_connections.rs"),
    include_str!("rows_keys.rs"),
    include_str!("rows_texts.rs"),
    include_str!("service_keys.rs"),
    include_str!("trickling.rs"),
];
const ROWS: usize = 31;

/// The cells of each row of the table whose rows begin with a number.
fn rows() -> Vec<Vec<&'static str>> {
    let rows = SECURITY.lines().filter_map(|line| line.strip_prefix("| "));
    let rows = rows.filter(|row| row.starts_with(|first: char| first.is_ascii_digit()));
    rows.map(|row| row.trim_end_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// The names in backquotes that are those of tests.
fn named(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').filter(|name| name.starts_with("row_"))
}

#[test]
fn every_row_names_its_tests_or_says_what_is_missing() {
    let written: BTreeSet<&str> = TESTS
        .iter()
        .flat_map(|source| source.split("async fn ").skip(1))
        .filter_map(|function| function.split('(').next())
        .filter(|name| name.starts_with("row_"))
        .collect();
    let rows = rows();
    assert_eq!(rows.len(), ROWS);
    let mut told = BTreeSet::new();
    for (number, row) in (1..).zip(&rows) {
        let [first, _, _, tests] = row[..] else { panic!("four cells: {row:?}") };
        assert_eq!(first, number.to_string());
        assert!(
            named(tests).next().is_some() || tests.starts_with("not there yet: "),
            "row {number}: {tests}"
        );
        for name in named(tests) {
            assert!(written.contains(name), "row {number} names {name}, which isn't there");
            assert!(name.starts_with(&format!("row_{number:02}_")), "row {number} names {name}");
            told.insert(name);
        }
    }
    assert_eq!(told, written, "every test of a row stands in its row");
}
