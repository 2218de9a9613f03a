//! Rows and columns, whatever the database.

use lastunit::StoreError;

/// A row that Lastunit can't have written.
pub(crate) fn bad_row(table: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Internal(format!("a row of {table} can't be read: {why}"))
}

/// A value for a column that holds JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|failed| StoreError::Internal(failed.to_string()))
}

/// The rows in as few pieces as there are statements for: `sizes` are the rows that those take, the most first and
/// 1 last.
pub(crate) fn chunks<'a, T>(rows: &'a [T], sizes: &'a [usize]) -> impl Iterator<Item = &'a [T]> {
    let mut left = rows;
    std::iter::from_fn(move || {
        let size = *sizes.iter().find(|size| **size <= left.len())?;
        let (chunk, rest) = left.split_at(size);
        left = rest;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_row_once_and_in_order() {
        let sizes = [16, 4, 1];
        for length in [0, 1, 3, 4, 15, 16, 17, 63, 64, 101] {
            let rows: Vec<usize> = (0..length).collect();
            let pieces: Vec<&[usize]> = chunks(&rows, &sizes).collect();
            assert_eq!(pieces.concat(), rows);
            assert!(pieces.iter().all(|piece| sizes.contains(&piece.len())));
        }
    }
}
