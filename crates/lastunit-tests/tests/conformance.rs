//! The conformance suite, on every way to run a shop: each database at each isolation, with carts in the store and in
//! Redis, with one server and with three. Takes what cargo's own tests take: a part of a name, `--list`, …

use std::{process::ExitCode, sync::Arc};

use lastunit::Store;
use lastunit_store::{
    Isolation, MySqlStore, PostgresStore, RedisCarts, RedisConfig, RemoteConfig, SqliteStore,
};
use lastunit_tests::{
    Combination, Fresh, Run,
    servers::{MariaDb, Postgres, Redis},
};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let mut combinations = Vec::new();
    for database in databases() {
        for redis in [false, true] {
            combinations.extend([1, 3].map(|servers| combination(database.clone(), redis, servers)));
        }
    }
    let trial = |Run { name, run }| {
        Trial::test(name, || {
            run();
            Ok(())
        })
    };
    let trials = combinations.iter().flat_map(Combination::runs).map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

#[derive(Clone)]
enum Database {
    Sqlite,
    Postgres(RemoteConfig),
    /// Whether innodb_snapshot_isolation is on.
    MariaDb(RemoteConfig, bool),
}

fn databases() -> Vec<Database> {
    let at = |isolation| RemoteConfig { isolation, ..RemoteConfig::default() };
    let unprepared = RemoteConfig { prepared: false, ..RemoteConfig::default() };
    let mut databases = vec![Database::Sqlite, Database::Postgres(unprepared)];
    for isolation in [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable] {
        databases.push(Database::Postgres(at(isolation)));
    }
    for isolation in [Isolation::ReadCommitted, Isolation::RepeatableRead] {
        databases.extend([false, true].map(|snapshots| Database::MariaDb(at(isolation), snapshots)));
    }
    databases
}

impl Database {
    /// Such as `mariadb-repeatable-read-snapshots`.
    fn name(&self) -> String {
        let isolation = |config: &RemoteConfig| config.isolation.as_str().replace('_', "-");
        match self {
            Self::Sqlite => "sqlite".into(),
            Self::Postgres(config) if !config.prepared => "postgres-unprepared".into(),
            Self::Postgres(config) => format!("postgres-{}", isolation(config)),
            Self::MariaDb(config, false) => format!("mariadb-{}", isolation(config)),
            Self::MariaDb(config, true) => format!("mariadb-{}-snapshots", isolation(config)),
        }
    }

    /// An empty one, opened by this many servers.
    async fn fresh(self, servers: usize) -> Fresh {
        let mut stores: Vec<Arc<dyn Store>> = Vec::with_capacity(servers);
        match self {
            Self::Sqlite => {
                let folder = tempfile::tempdir().expect("a temporary folder");
                for _ in 0..servers {
                    let store = SqliteStore::open(folder.path().join("shop.db"));
                    stores.push(Arc::new(store.expect("a database")));
                }
                Fresh { stores, keep: Box::new(folder) }
            }
            Self::Postgres(config) => {
                let database = Postgres::shared_database();
                for _ in 0..servers {
                    let store = PostgresStore::connect(database.url(), config.clone()).await;
                    stores.push(Arc::new(store.expect("a database")));
                }
                Fresh { stores, keep: Box::new(database) }
            }
            Self::MariaDb(config, snapshots) => {
                let database = if snapshots {
                    MariaDb::shared_database_with_snapshots()
                } else {
                    MariaDb::shared_database()
                };
                for _ in 0..servers {
                    let store = MySqlStore::connect(database.url(), config.clone()).await;
                    stores.push(Arc::new(store.expect("a database")));
                }
                Fresh { stores, keep: Box::new(database) }
            }
        }
    }
}

fn combination(database: Database, redis: bool, servers: usize) -> Combination {
    let carts = if redis { "+redis" } else { "" };
    let several = if servers > 1 { format!("-{servers}-servers") } else { String::new() };
    Combination::new(&format!("{}{carts}{several}", database.name()), move || {
        let database = database.clone();
        async move {
            let fresh = database.fresh(servers).await;
            if redis { carts_in_redis(fresh).await } else { fresh }
        }
    })
}

/// The same, but for the carts.
async fn carts_in_redis(Fresh { stores, keep }: Fresh) -> Fresh {
    let redis = Redis::shared_database();
    let mut with_redis: Vec<Arc<dyn Store>> = Vec::with_capacity(stores.len());
    for store in stores {
        let carts = RedisCarts::connect(redis.url(), RedisConfig::default(), store).await;
        with_redis.push(Arc::new(carts.expect("an address")));
    }
    Fresh { stores: with_redis, keep: Box::new((keep, redis)) }
}
