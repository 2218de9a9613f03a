//! Shops in production, with the binary: several servers on one PostgreSQL or MariaDB, carts in Redis, and what
//! happens when one of those goes away.

/// Makes tests of functions that take a [`setup::Kind`]: each on PostgreSQL and on MariaDB.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::setup::Kind::Postgres).await;
            })+
        }

        mod on_mariadb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::setup::Kind::MariaDb).await;
            })+
        }
    };
}

mod carts;
mod cli;
mod crowd;
mod freeze;
mod kill;
mod sell_out;
mod setup;
mod start;
