//! A CSV file as rows that know their line, and cells that know their column.

use std::fmt;

/// Something wrong with a file, and where: `line 3, column 4 (price): "ten" is no price: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    line: Option<u64>,
    column: Option<(usize, String)>,
    what: String,
}

impl Problem {
    /// Of a whole line.
    pub(super) fn at_line(line: u64, what: impl Into<String>) -> Self {
        Self { line: Some(line), column: None, what: what.into() }
    }

    /// Of no line in particular.
    pub(super) fn of_file(what: impl Into<String>) -> Self {
        Self { line: None, column: None, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}, ")?;
        }
        if let Some((number, name)) = &self.column {
            write!(f, "column {number} ({name}): ")?;
        }
        f.write_str(&self.what)
    }
}

/// A file with a header.
pub struct Table {
    header: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

impl Table {
    /// Reads a whole file (UTF-8, with or without a byte order mark); or every line that isn't CSV.
    pub fn read(bytes: &[u8]) -> Result<Self, Vec<Problem>> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let header = reader.headers().map_err(|error| vec![problem(&error)])?;
        let header: Vec<String> = header.iter().map(str::to_owned).collect();
        if let Some(twice) = header.iter().enumerate().find(|(at, name)| header[..*at].contains(name)) {
            return Err(vec![Problem::at_line(1, format!("the column {:?} stands there twice", twice.1))]);
        }
        let (rows, problems): (Vec<_>, Vec<_>) = reader.records().partition(Result::is_ok);
        let problems: Vec<_> =
            problems.into_iter().filter_map(Result::err).map(|error| problem(&error)).collect();
        if problems.is_empty() {
            Ok(Self { header, rows: rows.into_iter().filter_map(Result::ok).collect() })
        } else {
            Err(problems)
        }
    }

    /// Whether there is a column of this name.
    pub fn has(&self, name: &str) -> bool {
        self.header.iter().any(|column| column == name)
    }

    /// The columns' names.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The rows, in the file's order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|record| Row { table: self, record })
    }
}

/// One row of a table.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    table: &'a Table,
    record: &'a csv::StringRecord,
}

impl<'a> Row<'a> {
    /// A cell, without the space around it; empty where there is no such column.
    pub fn get(&self, column: &str) -> &'a str {
        let at = self.table.header.iter().position(|name| name == column);
        at.and_then(|at| self.record.get(at)).unwrap_or("")
    }

    /// The line on which the row begins, from 1.
    pub fn line(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::line)
    }

    /// What is wrong with one of its cells; with the row, where the file has no such column.
    pub fn problem(&self, column: &str, what: impl Into<String>) -> Problem {
        let at = self.table.header.iter().position(|name| name == column);
        let column = at.map(|at| (at + 1, column.into()));
        Problem { line: Some(self.line()), column, what: what.into() }
    }

    /// A price in minor units.
    pub fn price(&self, column: &str, currency: crate::Currency) -> Result<crate::Amount, Problem> {
        let text = self.get(column);
        currency.parse_amount(text).map_err(|_| {
            let decimals = currency.decimals();
            let code = currency.code();
            let example = if decimals > 0 { "9.50" } else { "950" };
            self.problem(
                column,
                format!("{text:?} is no price: write digits with at most {decimals} decimals ({code}), such as {example}"),
            )
        })
    }

    /// A stock; an empty cell is 0.
    pub fn stock(&self, column: &str) -> Result<i64, Problem> {
        let text = self.get(column);
        let stock = if text.is_empty() { Ok(0) } else { text.parse::<i64>() };
        stock.ok().filter(|stock| (0..=crate::MAX_STOCK).contains(stock)).ok_or_else(|| {
            let most = crate::MAX_STOCK;
            self.problem(column, format!("{text:?} is no stock: write a whole number from 0 to {most}"))
        })
    }
}

fn problem(error: &csv::Error) -> Problem {
    let line = error.position().map(csv::Position::line);
    let what = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("there are {len} cells, and the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { err, .. } => {
            format!("cell {} isn't UTF-8: save the file in that encoding", err.field() + 1)
        }
        _ => error.to_string(),
    };
    Problem { line, column: None, what }
}
