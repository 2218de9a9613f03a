//! The buyer's saved addresses.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use lastunit::{Address, AddressId};
use serde::Serialize;

use crate::{
    app::App,
    body::{Json, json, ok},
    identity::Buyer,
    list::{Id, PageOf},
    problem::Problem,
    schema,
};

/// An address with its id; `schema::SavedAddress` documents it.
#[derive(Serialize)]
pub(crate) struct SavedAddress {
    pub(crate) id: AddressId,
    #[serde(flatten)]
    pub(crate) address: Address,
}

/// Save an address.
#[utoipa::path(
    post, path = "/v1/addresses", tag = "addresses", operation_id = "add_address",
    request_body = schema::Address,
    responses(
        (status = 201, description = "The saved address", body = schema::SavedAddress),
        (status = 409, description = "conflict: the buyer has 100 addresses already", body = schema::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn add(
    State(app): State<Arc<App>>,
    buyer: Buyer,
    Json(address): Json<Address>,
) -> Result<Response, Problem> {
    address.validate().map_err(|wrong| Problem::invalid(format!("{wrong}.")))?;
    let source = app.engine.source();
    let id = AddressId(source.uuid(source.now()));
    let saved = SavedAddress { id, address: address.clone() };
    let added = app.changed(move |store| {
        let (user, address) = (buyer.user.clone(), address.clone());
        async move { store.add_address(buyer.shop, &user, id, address).await }
    });
    added.await?;
    Ok(json(StatusCode::CREATED, &saved))
}

/// List the buyer's addresses, oldest first.
#[utoipa::path(
    get, path = "/v1/addresses", tag = "addresses", operation_id = "list_addresses",
    params(schema::AddressPage),
    responses((status = 200, description = "One page of addresses", body = schema::AddressList)),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    buyer: Buyer,
    page: PageOf<AddressId>,
) -> Result<Response, Problem> {
    // There are never many, so that the store reads all of them. Ids are UUIDs v7: by id is by age.
    let mut all = app.store().addresses(buyer.shop, &buyer.user).await?;
    app.known_shop(buyer.shop, all.is_empty()).await?;
    all.sort_unstable_by_key(|&(id, _)| id);
    let behind = all.into_iter().filter(|(id, _)| page.after.is_none_or(|after| *id > after));
    let items = behind.take(page.fetch()).map(|(id, address)| SavedAddress { id, address }).collect();
    Ok(ok(&page.page(items, |saved| saved.id.to_string())))
}

/// Read a saved address.
#[utoipa::path(
    get, path = "/v1/addresses/{id}", tag = "addresses", operation_id = "get_address",
    params(schema::AddressPath),
    responses((status = 200, description = "The address", body = schema::SavedAddress)),
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    buyer: Buyer,
    Id(id): Id<AddressId>,
) -> Result<Response, Problem> {
    let address = app.store().address(buyer.shop, &buyer.user, id).await?.ok_or_else(no_such_address)?;
    Ok(ok(&SavedAddress { id, address }))
}

/// Forget a saved address; orders keep their copy.
#[utoipa::path(
    delete, path = "/v1/addresses/{id}", tag = "addresses", operation_id = "delete_address",
    params(schema::AddressPath),
    responses((status = 204, description = "The address is forgotten")),
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    buyer: Buyer,
    Id(id): Id<AddressId>,
) -> Result<StatusCode, Problem> {
    let deleted = app.changed(move |store| {
        let user = buyer.user.clone();
        async move { store.delete_address(buyer.shop, &user, id).await }
    });
    if deleted.await? { Ok(StatusCode::NO_CONTENT) } else { Err(no_such_address()) }
}

fn no_such_address() -> Problem {
    Problem::not_found("The buyer has no address with this id.")
}
