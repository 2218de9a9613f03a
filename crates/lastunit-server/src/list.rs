//! Lists: `{"items": […], "next_cursor": …}`, by `?limit=` and `?cursor=`. And ids in paths.

use std::{str::FromStr, sync::Arc};

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use serde::{Deserialize, Serialize};

use crate::{app::App, problem::Problem};

const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 100;

/// Where a page begins and how long it is.
#[derive(Debug)]
pub(crate) struct PageOf<C> {
    /// The id of the last item that the client has seen.
    pub(crate) after: Option<C>,
    limit: usize,
    /// `?code=`, where the list knows it.
    pub(crate) code: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQuery {
    limit: Option<String>,
    cursor: Option<String>,
    code: Option<String>,
}

impl<C: FromStr> PageOf<C> {
    /// One more than the page holds: it tells whether another page follows.
    pub(crate) fn fetch(&self) -> usize {
        self.limit + 1
    }

    fn of(raw: RawQuery) -> Result<Self, Problem> {
        let limit = match raw.limit {
            None => DEFAULT_LIMIT,
            Some(text) => (text.parse().ok())
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| Problem::invalid("`limit` must be a whole number from 1 to 100."))?,
        };
        let after = match raw.cursor {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                Problem::invalid("`cursor` must be a next_cursor that this list answered, or left out.")
            })?),
        };
        Ok(Self { after, limit, code: raw.code })
    }

    /// The page of what was fetched; its cursor is the last item's id.
    pub(crate) fn page<T>(&self, mut items: Vec<T>, id: impl Fn(&T) -> String) -> Page<T> {
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let next_cursor = items.last().filter(|_| more).map(id);
        Page { items, next_cursor }
    }
}

/// The query of a list, but for `code`, which [`PageOrCode`] takes.
impl<C: FromStr> FromRequestParts<Arc<App>> for PageOf<C> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        let page = Self::of(raw(parts, "limit and cursor")?)?;
        if page.code.is_some() {
            return Err(unknown_parameter("limit and cursor"));
        }
        Ok(page)
    }
}

/// The query of the list of SKUs.
pub(crate) struct PageOrCode<C>(pub(crate) PageOf<C>);

impl<C: FromStr> FromRequestParts<Arc<App>> for PageOrCode<C> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        PageOf::of(raw(parts, "limit, cursor and code")?).map(Self)
    }
}

fn raw(parts: &Parts, known: &'static str) -> Result<RawQuery, Problem> {
    Query::try_from_uri(&parts.uri).map(|Query(raw)| raw).map_err(|_| unknown_parameter(known))
}

fn unknown_parameter(known: &str) -> Problem {
    Problem::invalid(format!("The query may hold {known}, each once, and nothing else."))
}

/// One page of a list.
#[derive(Serialize)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next_cursor: Option<String>,
}

/// An id from the path. One that no object can have is answered like one that no object has.
pub(crate) struct Id<T>(pub(crate) T);

impl<T: FromStr> FromRequestParts<Arc<App>> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, app).await.ok();
        text.and_then(|Path(text)| text.parse().ok())
            .map(Self)
            .ok_or_else(|| Problem::not_found("There is nothing under this id."))
    }
}

#[cfg(test)]
mod tests {
    use lastunit::SkuId;

    use super::*;

    fn page(limit: Option<&str>, cursor: Option<&str>) -> Result<PageOf<SkuId>, Problem> {
        let text = |text: Option<&str>| text.map(str::to_owned);
        PageOf::of(RawQuery { limit: text(limit), cursor: text(cursor), code: None })
    }

    #[test]
    fn limit_and_cursor_are_checked() {
        assert_eq!(page(None, None).unwrap().fetch(), 21);
        assert_eq!(page(Some("100"), Some("7")).unwrap().after.unwrap().get(), 7);
        for (limit, cursor) in [("0", "1"), ("101", "1"), ("-1", "1"), ("x", "1"), ("1", ""), ("1", "x")] {
            assert!(page(Some(limit), Some(cursor)).is_err(), "{limit} {cursor}");
        }
    }

    #[test]
    fn a_cursor_is_given_only_where_more_follows() {
        let two = page(Some("2"), None).unwrap();
        let full = two.page(vec![1, 2, 3], i32::to_string);
        assert_eq!((full.items, full.next_cursor), (vec![1, 2], Some("2".into())));
        let last = two.page(vec![1, 2], i32::to_string);
        assert_eq!((last.items, last.next_cursor), (vec![1, 2], None));
    }
}
