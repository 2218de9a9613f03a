//! What the shop sells.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use lastunit::{ProductId, SkuId};

use crate::{
    app::App,
    body::ok,
    identity::Caller,
    list::{Id, Page, PageOf, PageOrCode},
    problem::Problem,
    schema,
};

/// List SKUs by id, or find one by its code.
#[utoipa::path(
    get, path = "/v1/skus", tag = "catalogue", operation_id = "list_skus",
    params(schema::SkuPage),
    responses((status = 200, description = "One page of SKUs; with `code` at most one SKU",
        body = schema::SkuList)),
)]
pub(crate) async fn skus(
    State(app): State<Arc<App>>,
    caller: Caller,
    PageOrCode(page): PageOrCode<SkuId>,
) -> Result<Response, Problem> {
    if let Some(code) = &page.code {
        let items: Vec<_> = app.store().sku_by_code(caller.shop, code).await?.into_iter().collect();
        app.known_shop(caller.shop, items.is_empty()).await?;
        return Ok(ok(&Page { items, next_cursor: None }));
    }
    let skus = app.store().skus(caller.shop, page.after, page.fetch()).await?;
    app.known_shop(caller.shop, skus.is_empty()).await?;
    Ok(ok(&page.page(skus, |sku| sku.id.to_string())))
}

/// Read a SKU.
#[utoipa::path(
    get, path = "/v1/skus/{id}", tag = "catalogue", operation_id = "get_sku",
    params(schema::SkuPath),
    responses((status = 200, description = "The SKU", body = schema::Sku)),
)]
pub(crate) async fn sku(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SkuId>,
) -> Result<Response, Problem> {
    let sku = app.store().sku(caller.shop, id).await?;
    Ok(ok(&sku.ok_or_else(no_such_sku)?))
}

/// List products with their SKUs, by id.
#[utoipa::path(
    get, path = "/v1/products", tag = "catalogue", operation_id = "list_products",
    params(schema::ProductPage),
    responses((status = 200, description = "One page of products", body = schema::ProductList)),
)]
pub(crate) async fn products(
    State(app): State<Arc<App>>,
    caller: Caller,
    page: PageOf<ProductId>,
) -> Result<Response, Problem> {
    let products = app.store().products(caller.shop, page.after, page.fetch()).await?;
    app.known_shop(caller.shop, products.is_empty()).await?;
    Ok(ok(&page.page(products, |product| product.id.to_string())))
}

pub(crate) fn no_such_sku() -> Problem {
    Problem::not_found("There is no SKU with this id.")
}
