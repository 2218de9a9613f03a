//! The HTTP server of Lastunit: the native API, the origin's order-commit endpoint, health, metrics and the
//! OpenAPI document, on one [`lastunit::Engine`].
//!
//! ```text
//! let metrics = Metrics::new();
//! let engine = Engine::start_observed(store, Config::default(), metrics.clone())?;
//! let server = Server::start(listener, engine, ServerConfig::default(), metrics).await?;
//! server.run_until(async { tokio::signal::ctrl_c().await.ok(); }).await;
//! ```
//!
//! - Every error becomes a problem (RFC 9457) in one place, `problem`.
//! - Whatever changes something runs detached from its connection (`app::App::detached`): a client that hangs
//!   up can't stop a commit half-way.
//! - Nothing is global: several servers can run in one process.

mod addresses;
mod admin;
mod app;
mod body;
mod carts;
mod catalogue;
mod config;
mod connection;
mod entry;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod identity;
mod list;
mod metrics;
mod openapi;
mod orders;
mod origin;
mod problem;
mod rate_limits;
mod request_id;
mod routes;
mod schema;
mod server;
mod service_keys;

pub use config::ServerConfig;
pub use metrics::Metrics;
pub use openapi::openapi_json;
pub use server::{Server, StartError, listen};
