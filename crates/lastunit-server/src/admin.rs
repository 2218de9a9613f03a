//! What only an admin's key may do: products, prices, stock, settings.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use lastunit::{NewProduct, NewSku, ShopSettings, SkuId, SkuPatch, StockChange, check_field};
use serde::Deserialize;

use crate::{
    app::App,
    body::{AdminJson, Object, json, ok},
    catalogue::no_such_sku,
    identity::Admin,
    list::Id,
    problem::Problem,
    schema,
};

/// The body of POST /v1/admin/products; `schema::NewProduct` documents it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProductBody {
    #[serde(default)]
    handle: Option<String>,
    name: String,
    #[serde(default)]
    description: String,
    skus: Vec<Object<NewSku>>,
}

fn invalid(wrong: String) -> Problem {
    Problem::invalid(format!("{wrong}."))
}

/// Create a product with its SKUs.
#[utoipa::path(
    post, path = "/v1/admin/products", tag = "admin", operation_id = "create_product",
    request_body = schema::NewProduct,
    responses(
        (status = 201, description = "The product", body = schema::Product),
        (status = 409, description = "conflict: a handle or code is taken", body = schema::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn create_product(
    State(app): State<Arc<App>>,
    Admin { shop }: Admin,
    AdminJson(body): AdminJson<ProductBody>,
) -> Result<Response, Problem> {
    let ProductBody { handle, name, description, skus } = body;
    let skus = skus.into_iter().map(|Object(sku)| sku).collect();
    let product = NewProduct { handle, name, description, skus };
    product.validate().map_err(invalid)?;
    let at = app.engine.source().now();
    let source = app.engine.source().uuid(at);
    let created = app.changed(move |store| {
        let product = product.clone();
        async move { store.create_product(shop, product, source, at).await }
    });
    Ok(json(StatusCode::CREATED, &created.await?))
}

/// Change a SKU's price or name, or whether it is on sale.
#[utoipa::path(
    patch, path = "/v1/admin/skus/{id}", tag = "admin", operation_id = "patch_sku",
    params(schema::SkuPath),
    request_body = schema::SkuPatch,
    responses(
        (status = 200, description = "The SKU", body = schema::Sku),
        (status = 409, description = "conflict: the change clashes with what is there", body = schema::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn patch_sku(
    State(app): State<Arc<App>>,
    Admin { shop }: Admin,
    Id(id): Id<SkuId>,
    AdminJson(patch): AdminJson<SkuPatch>,
) -> Result<Response, Problem> {
    if let Some(name) = &patch.name {
        check_field("name", name, 1, 255, false).map_err(invalid)?;
    }
    let patched = app.changed(move |store| {
        let patch = patch.clone();
        async move { store.patch_sku(shop, id, patch).await }
    });
    Ok(ok(&patched.await?.ok_or_else(no_such_sku)?))
}

/// Change a SKU's stock, with the reason for the ledger.
#[utoipa::path(
    post, path = "/v1/admin/skus/{id}/stock", tag = "admin", operation_id = "change_stock",
    params(schema::SkuPath),
    request_body = schema::StockChange,
    responses(
        (status = 200, description = "The SKU with its new stock", body = schema::Sku),
        (status = 409, description = "conflict: the stock would leave its range", body = schema::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn change_stock(
    State(app): State<Arc<App>>,
    Admin { shop }: Admin,
    Id(id): Id<SkuId>,
    AdminJson(change): AdminJson<StockChange>,
) -> Result<Response, Problem> {
    change.validate().map_err(invalid)?;
    let at = app.engine.source().now();
    let source = app.engine.source().uuid(at);
    let changed = app.changed(move |store| {
        let change = change.clone();
        async move { store.change_stock(shop, id, change, source, at).await }
    });
    Ok(ok(&changed.await?.ok_or_else(no_such_sku)?))
}

/// Read the shop's settings.
#[utoipa::path(
    get, path = "/v1/admin/settings", tag = "admin", operation_id = "get_settings",
    responses((status = 200, description = "The settings", body = schema::ShopSettings)),
)]
pub(crate) async fn settings(
    State(app): State<Arc<App>>,
    Admin { shop }: Admin,
) -> Result<Response, Problem> {
    let settings = app.store().settings(shop).await?;
    let none = || Problem::not_found("There is no such shop: PUT its settings to open it.");
    Ok(ok(&settings.ok_or_else(none)?))
}

/// Change the shop's settings, or open a shop.
#[utoipa::path(
    put, path = "/v1/admin/settings", tag = "admin", operation_id = "put_settings",
    request_body = schema::ShopSettings,
    responses(
        (status = 200, description = "The settings as they are now", body = schema::ShopSettings),
        (status = 409, description = "conflict: the currency can't be changed once there are SKUs",
            body = schema::Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn put_settings(
    State(app): State<Arc<App>>,
    Admin { shop }: Admin,
    AdminJson(settings): AdminJson<ShopSettings>,
) -> Result<Response, Problem> {
    let at = app.engine.source().now();
    let set = app.changed(move |store| async move { store.set_settings(shop, settings, at).await });
    set.await?;
    Ok(ok(&settings))
}
