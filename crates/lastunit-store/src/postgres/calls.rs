//! Statements of an order's path with their parameters, sent in one round trip.

use lastunit::{ShopId, StoreError};

use super::{
    bind::Param,
    session::{Answer, For, PostgresSession, Statement},
};

/// A statement with its parameters, of which the shop is the first.
pub(super) struct Call<'a> {
    sql: &'static str,
    what: For,
    params: Vec<Param<'a>>,
}

impl<'a> Call<'a> {
    /// A query.
    pub fn rows(sql: &'static str, shop: ShopId, params: impl IntoIterator<Item = Param<'a>>) -> Self {
        Self::new(sql, For::Rows, shop, params)
    }

    /// A write, of which the number of rows is asked for.
    pub fn count(sql: &'static str, shop: ShopId, params: impl IntoIterator<Item = Param<'a>>) -> Self {
        Self::new(sql, For::Count, shop, params)
    }

    fn new(sql: &'static str, what: For, shop: ShopId, params: impl IntoIterator<Item = Param<'a>>) -> Self {
        let params = std::iter::once(Param::Int(shop.get())).chain(params).collect();
        Self { sql, what, params }
    }

    /// As a session takes it.
    pub fn bound(&self) -> Statement<'_> {
        (self.sql, self.what, self.params.iter().map(Param::typed).collect())
    }
}

/// Sends them all at once; the answers are in their order.
pub(super) async fn send(
    session: &mut PostgresSession,
    calls: &[Call<'_>],
) -> Result<Vec<Answer>, StoreError> {
    session.send(calls.iter().map(Call::bound).collect()).await
}
