//! The OpenAPI document: what each handler says of itself, and what is true of all of them.

use utoipa::{
    Modify, OpenApi, PartialSchema, ToSchema,
    openapi::{
        Content, ObjectBuilder, OpenApi as Document, Ref, RefOr, Required, Response,
        header::HeaderBuilder,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem},
        schema::Type,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use crate::{addresses, admin, carts, catalogue, health, orders, origin, schema};

/// The OpenAPI document of the server, as pretty JSON with a line break at its end.
pub fn openapi_json() -> String {
    let mut text = Api::openapi().to_pretty_json().expect("the document is made of strings and numbers");
    text.push('\n');
    text
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lastunit",
        description = "A checkout engine that sells the last unit exactly once. Amounts are integers in minor \
            units, times are RFC 3339 in UTC. Errors are problems (RFC 9457) with a stable `code`.",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        catalogue::skus, catalogue::sku, catalogue::products,
        carts::get, carts::empty, carts::set_line, carts::remove_line,
        addresses::add, addresses::list, addresses::get, addresses::delete,
        orders::place, orders::list, orders::get, orders::cancel,
        admin::create_product, admin::patch_sku, admin::change_stock, admin::settings, admin::put_settings,
        origin::commit,
        health::live, health::ready, health::metrics, health::openapi,
    ),
    modifiers(&Common),
)]
struct Api;

/// What is true of whole groups of calls: who may make them, and how each of them can fail.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A service key, made with `lastunit`; its role is shop or admin"))
            .build();
        components.add_security_scheme("service_key", SecurityScheme::Http(bearer));
        for (path, item) in &mut document.paths.paths {
            for operation in operations(item) {
                complete(path, operation);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

fn complete(path: &str, operation: &mut Operation) {
    let of_origin = path == "/orders/commit/";
    let of_api = path.starts_with("/v1/");
    let of_admin = path.starts_with("/v1/admin/");
    let of_buyer =
        of_origin || ["/v1/cart", "/v1/addresses", "/v1/orders"].iter().any(|begin| path.starts_with(begin));

    if of_buyer {
        parameter(operation, user_header());
    }
    if of_buyer || of_api {
        parameter(operation, shop_header());
        operation.security = Some(vec![SecurityRequirement::new("service_key", [""; 0])]);
    }
    // The origin's endpoint says everything with HTTP 200.
    if of_api {
        answer(operation, 400, "malformed_request, or idempotency_key_missing where a key is needed");
        answer(operation, 401, "unauthenticated: the service key is missing or unknown");
        answer(operation, 404, "not_found: there is no such object or shop, or it is another buyer's");
        answer(operation, 422, "invalid_request, or another code that says what is wrong with the request");
        answer(
            operation,
            429,
            "rate_limited: too many calls of the buyer or with the service key; wait, then send it again",
        );
        answer(operation, 503, "overloaded or store_unavailable: wait, then send the same request again");
    }
    if of_admin {
        answer(operation, 403, "forbidden: the service key's role isn't admin");
    }
    if of_api && operation.request_body.is_some() {
        answer(operation, 408, "request_timeout: the body took too long to arrive");
        answer(operation, 413, "too_large: the body is larger than the server takes");
        answer(operation, 415, "unsupported_media_type: the body isn't application/json");
    }
    if !of_origin {
        answer(operation, 500, "internal_error: a bug");
    }
}

fn parameter(operation: &mut Operation, parameter: Parameter) {
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
}

fn answer(operation: &mut Operation, status: u16, description: &str) {
    let problem = Content::new(Some(Ref::from_schema_name(schema::Problem::name())));
    let mut response = Response::new(description);
    response.content.insert("application/problem+json".into(), RefOr::T(problem));
    if matches!(status, 429 | 503) {
        let seconds = HeaderBuilder::new().schema(Some(u32::schema())).description(Some("Seconds to wait"));
        response.headers.insert("Retry-After".into(), RefOr::T(seconds.build()));
    }
    operation.responses.responses.entry(status.to_string()).or_insert(RefOr::T(response));
}

fn user_header() -> Parameter {
    let user = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(64))
        .pattern(Some("^[!-~]([ -~]*[!-~])?$"));
    ParameterBuilder::new()
        .name("Lastunit-User")
        .parameter_in(ParameterIn::Header)
        .required(Required::True)
        .description(Some("The buyer, as the shop's own system names them"))
        .schema(Some(user))
        .build()
}

fn shop_header() -> Parameter {
    let shop = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(i64::MAX))
        .default(Some(1.into()));
    ParameterBuilder::new()
        .name("Lastunit-Shop")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The shop"))
        .schema(Some(shop))
        .build()
}

#[cfg(test)]
mod tests;
