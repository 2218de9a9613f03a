//! The buyer's cart.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use lastunit::{CartLineSetting, SkuId};

use crate::{
    app::App,
    body::{Json, ok},
    identity::Buyer,
    list::Id,
    problem::Problem,
    schema,
};

/// Read the cart, priced as of now.
#[utoipa::path(
    get, path = "/v1/cart", tag = "cart", operation_id = "get_cart",
    responses((status = 200, description = "The cart", body = schema::Cart)),
)]
pub(crate) async fn get(State(app): State<Arc<App>>, buyer: Buyer) -> Result<Response, Problem> {
    Ok(ok(&app.store().cart(buyer.shop, &buyer.user).await?))
}

/// Put a SKU into the cart, or change its line.
#[utoipa::path(
    put, path = "/v1/cart/lines/{sku_id}", tag = "cart", operation_id = "set_cart_line",
    params(schema::CartLinePath),
    request_body = schema::CartLineSetting,
    responses(
        (status = 200, description = "The cart with the line", body = schema::Cart),
        (status = 409, description = "conflict: the cart can't take another line", body = schema::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn set_line(
    State(app): State<Arc<App>>,
    buyer: Buyer,
    Id(sku): Id<SkuId>,
    Json(line): Json<CartLineSetting>,
) -> Result<Response, Problem> {
    line.validate().map_err(|wrong| Problem::invalid(format!("{wrong}.")))?;
    let set = app.changed(move |store| {
        let user = buyer.user.clone();
        async move { store.set_cart_line(buyer.shop, &user, sku, line).await }
    });
    let cart = set.await?.ok_or_else(|| Problem::not_found("There is no SKU with this id."))?;
    Ok(ok(&cart))
}

/// Take a line out of the cart.
#[utoipa::path(
    delete, path = "/v1/cart/lines/{sku_id}", tag = "cart", operation_id = "remove_cart_line",
    params(schema::CartLinePath),
    responses((status = 200, description = "The cart without the line", body = schema::Cart)),
)]
pub(crate) async fn remove_line(
    State(app): State<Arc<App>>,
    buyer: Buyer,
    Id(sku): Id<SkuId>,
) -> Result<Response, Problem> {
    remove(app, buyer, Some(sku)).await
}

/// Empty the cart.
#[utoipa::path(
    delete, path = "/v1/cart", tag = "cart", operation_id = "empty_cart",
    responses((status = 200, description = "The empty cart", body = schema::Cart)),
)]
pub(crate) async fn empty(State(app): State<Arc<App>>, buyer: Buyer) -> Result<Response, Problem> {
    remove(app, buyer, None).await
}

async fn remove(app: Arc<App>, buyer: Buyer, sku: Option<SkuId>) -> Result<Response, Problem> {
    let removed = app.changed(move |store| {
        let user = buyer.user.clone();
        async move { store.remove_cart_lines(buyer.shop, &user, sku).await }
    });
    Ok(ok(&removed.await?))
}
