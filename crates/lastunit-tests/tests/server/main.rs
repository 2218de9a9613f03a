//! The server as its clients meet it, over real sockets: in this process, and as the binary.
//!
//! Every answer to [`lastunit_tests::server::Client::send`] is held against the OpenAPI document besides.

mod cli;
mod crowd;
mod hanging_up;
mod journey;
mod kill;
mod load;
mod logs;
mod metrics;
mod naive;
mod operations;
mod origin;
mod overload;
mod rate_limits;
mod rows;
mod rows_bodies;
mod rows_buyers;
mod rows_connections;
mod rows_keys;
mod rows_texts;
mod sell_out;
mod service_keys;
mod shutdown;
mod trickling;
