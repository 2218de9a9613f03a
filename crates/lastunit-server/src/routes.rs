//! Which path leads where.

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, patch, post, put},
};

use crate::{addresses, admin, app::App, carts, catalogue, health, orders, origin, problem::Problem};

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/skus", get(catalogue::skus))
        .route("/v1/skus/{id}", get(catalogue::sku))
        .route("/v1/products", get(catalogue::products))
        .route("/v1/cart", get(carts::get).delete(carts::empty))
        .route("/v1/cart/lines/{sku_id}", put(carts::set_line).delete(carts::remove_line))
        .route("/v1/addresses", get(addresses::list).post(addresses::add))
        .route("/v1/addresses/{id}", get(addresses::get).delete(addresses::delete))
        .route("/v1/orders", get(orders::list).post(orders::place))
        .route("/v1/orders/{id}", get(orders::get))
        .route("/v1/orders/{id}/cancel", post(orders::cancel))
        .route("/v1/admin/products", post(admin::create_product))
        .route("/v1/admin/skus/{id}", patch(admin::patch_sku))
        .route("/v1/admin/skus/{id}/stock", post(admin::change_stock))
        .route("/v1/admin/settings", get(admin::settings).put(admin::put_settings))
        .route("/orders/commit/", post(origin::commit))
        .route("/openapi.json", get(health::openapi))
        .route("/metrics", get(health::metrics))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .fallback(async || Problem::not_found("There is nothing at this path: see /openapi.json."))
        .with_state(app)
}

/// Every route's template. A metric's label comes from here and not from a layer around every route, which would
/// cost each request more than this short search; a test holds it against the OpenAPI document.
const TEMPLATES: [&str; 19] = [
    "/v1/orders",
    "/health/live",
    "/v1/skus",
    "/v1/skus/{id}",
    "/v1/products",
    "/v1/cart",
    "/v1/cart/lines/{sku_id}",
    "/v1/addresses",
    "/v1/addresses/{id}",
    "/v1/orders/{id}",
    "/v1/orders/{id}/cancel",
    "/v1/admin/products",
    "/v1/admin/skus/{id}",
    "/v1/admin/skus/{id}/stock",
    "/v1/admin/settings",
    "/orders/commit/",
    "/openapi.json",
    "/metrics",
    "/health/ready",
];

/// The template that a path matches, for metrics.
pub(crate) fn template(path: &str) -> &'static str {
    TEMPLATES.into_iter().find(|template| matches(template, path)).unwrap_or("unmatched")
}

fn matches(template: &str, path: &str) -> bool {
    if !template.contains('{') {
        return template == path;
    }
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted == given => {}
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_path_has_its_template_and_no_other_is_documented() {
        let document: serde_json::Value = serde_json::from_str(&crate::openapi_json()).unwrap();
        let mut documented: Vec<&str> =
            document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut templates = TEMPLATES.to_vec();
        documented.sort_unstable();
        templates.sort_unstable();
        assert_eq!(documented, templates);
        for path in templates {
            assert_eq!(template(&path.replace("{id}", "7").replace("{sku_id}", "7")), path);
        }
    }

    #[test]
    fn other_paths_are_unmatched() {
        for path in ["/", "/v1/orders/", "/v1/orders//cancel", "/v1/orders/7/cancel/x", "/orders/commit", "*"]
        {
            assert_eq!(template(path), "unmatched", "{path}");
        }
    }
}
