//! Where a shop is kept: `sqlite:FILE`, `postgres://…` or `mysql://…`, and where its carts are: `redis://…`.

use std::{fmt, num::NonZeroUsize, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::{
    builder::{TypedValueParser, ValueParserFactory},
    error::ErrorKind,
};
use lastunit::{Store, Watched};
use lastunit_store::{
    MySqlStore, PostgresStore, RedisCarts, RedisConfig, RemoteConfig, SqliteConfig, SqliteStore,
};

/// A store by its address.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A file.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(String, RemoteConfig),
    /// A MariaDB or MySQL server.
    MySql(String, RemoteConfig),
}

/// Which store a command works on.
#[derive(clap::Args)]
pub struct StoreArg {
    /// Where the shop is kept: sqlite:FILE, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE.
    // Not shown from the environment: an address may hold a password.
    #[arg(
        long,
        env = "LASTUNIT_STORE",
        default_value = "sqlite:lastunit.db",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub store: StoreUrl,
}

const KINDS: &str = "use sqlite:FILE, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE";

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            return match path.strip_prefix("//").unwrap_or(path) {
                "" | ":memory:" => Err("a shop is kept in a file: use sqlite:FILE".into()),
                path => Ok(Self::Sqlite(path.into())),
            };
        }
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let remote: fn(String, RemoteConfig) -> Self = match scheme {
            Some("postgres" | "postgresql") => Self::Postgres,
            Some("mysql" | "mariadb") => Self::MySql,
            _ => return Err(format!("{:?} is no store: {KINDS}", without_password(text))),
        };
        let (url, config) = remote_config(text)?;
        Ok(remote(url, config))
    }
}

/// Takes Lastunit's own parameters out of an address; the driver gets the others.
fn remote_config(text: &str) -> Result<(String, RemoteConfig), String> {
    let mut config = RemoteConfig::default();
    let Some((url, parameters)) = text.split_once('?') else { return Ok((text.into(), config)) };
    let mut others = Vec::new();
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let milliseconds = || match value.parse() {
            Ok(ms @ 1..=600_000) => Ok(Duration::from_millis(ms)),
            _ => Err(format!("{name} is in milliseconds, from 1 to 600000")),
        };
        match name {
            "max_connections" => {
                let wrong = |_| "max_connections is a number from 1".to_owned();
                config.max_connections = value.parse::<NonZeroUsize>().map_err(wrong)?;
            }
            "isolation" => config.isolation = value.parse()?,
            "prepared" => {
                config.prepared = value.parse().map_err(|_| "prepared is true or false".to_owned())?;
            }
            "wait_timeout_ms" => config.wait_timeout = milliseconds()?,
            "lock_timeout_ms" => config.lock_timeout = milliseconds()?,
            "transaction_timeout_ms" => config.transaction_timeout = milliseconds()?,
            _ => others.push(parameter),
        }
    }
    let url = if others.is_empty() { url.into() } else { format!("{url}?{}", others.join("&")) };
    Ok((url, config))
}

/// An address that may be shown: a password in it is not, wherever it stands. What is before the last `@` may be one
/// that isn't encoded.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let shown = match rest.rsplit_once('@') {
        Some((user, host)) => format!("{}@{host}", user.split(':').next().unwrap_or_default()),
        None => rest.to_owned(),
    };
    let shown = match shown.split_once('?') {
        Some((address, parameters)) => {
            let shown = |parameter: &str| match parameter.split_once('=') {
                Some(("password", _)) => "password=…".to_owned(),
                _ => parameter.to_owned(),
            };
            format!("{address}?{}", parameters.split('&').map(shown).collect::<Vec<_>>().join("&"))
        }
        None => shown,
    };
    if scheme.is_empty() { shown } else { format!("{scheme}://{shown}") }
}

/// Reads an address on the command line; a wrong one isn't repeated as it was given.
#[derive(Clone)]
pub struct Address<T>(std::marker::PhantomData<fn() -> T>);

impl<T: FromStr<Err = String> + Clone + Send + Sync + 'static> TypedValueParser for Address<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<T, clap::Error> {
        let parsed = value.to_str().ok_or_else(|| "it has to be UTF-8".to_owned()).and_then(str::parse);
        parsed.map_err(|why| {
            let option = arg.map(ToString::to_string).unwrap_or_default();
            clap::Error::raw(ErrorKind::ValueValidation, format!("{option}: {why}\n")).with_cmd(command)
        })
    }
}

impl ValueParserFactory for StoreUrl {
    type Parser = Address<Self>;

    fn value_parser() -> Address<Self> {
        Address(std::marker::PhantomData)
    }
}

impl ValueParserFactory for CartsUrl {
    type Parser = Address<Self>;

    fn value_parser() -> Address<Self> {
        Address(std::marker::PhantomData)
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url, _) | Self::MySql(url, _) => f.write_str(&without_password(url)),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A server's address as it was given, Lastunit's own parameters included.
fn whole(url: &str, config: &RemoteConfig) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!(
        "{url}{separator}max_connections={}&isolation={}&prepared={}&wait_timeout_ms={}&lock_timeout_ms={}\
         &transaction_timeout_ms={}",
        config.max_connections,
        config.isolation.as_str(),
        config.prepared,
        config.wait_timeout.as_millis(),
        config.lock_timeout.as_millis(),
        config.transaction_timeout.as_millis()
    )
}

/// What may be done to a store when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// A file is created where it isn't there, and the schema brought up to date.
    Create,
    /// It has to be there; the schema is brought up to date.
    Existing,
    /// It has to be there, with a schema that is up to date.
    AsItIs,
}

impl StoreUrl {
    /// The whole address, a password in it too; for another process, never for a person.
    pub fn whole(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres(url, config) | Self::MySql(url, config) => whole(url, config),
        }
    }

    /// Opens it.
    pub async fn open(&self, how: Open) -> Result<Arc<dyn Store>> {
        self.open_watched(how, Watched::default()).await
    }

    /// Opens it with somebody who watches.
    pub async fn open_watched(&self, how: Open, watched: Watched) -> Result<Arc<dyn Store>> {
        let migrate = how != Open::AsItIs;
        let opened: Result<Arc<dyn Store>, _> = match self {
            Self::Sqlite(path) => {
                let config = SqliteConfig { create: how == Open::Create, migrate, watched };
                SqliteStore::open_with(path, config).map(|store| Arc::new(store) as _)
            }
            Self::Postgres(url, config) => {
                let config = RemoteConfig { migrate, watched, ..config.clone() };
                PostgresStore::connect(url, config).await.map(|store| Arc::new(store) as _)
            }
            Self::MySql(url, config) => {
                let config = RemoteConfig { migrate, watched, ..config.clone() };
                MySqlStore::connect(url, config).await.map(|store| Arc::new(store) as _)
            }
        };
        opened.with_context(|| format!("the store {self} can't be opened"))
    }
}

/// Where carts are kept.
#[derive(Clone, PartialEq, Eq)]
pub enum CartsUrl {
    /// With the orders.
    Store,
    /// In Redis, or a Redis Cluster.
    Redis(String, RedisConfig),
}

impl FromStr for CartsUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "store" {
            return Ok(Self::Store);
        }
        if !matches!(text.split_once("://"), Some(("redis" | "redis+cluster", _))) {
            return Err("carts are kept in the store, or in Redis: use store, redis://HOST:PORT or \
                        redis+cluster://HOST:PORT,HOST:PORT"
                .into());
        }
        let (url, parameters) = text.split_once('?').unwrap_or((text, ""));
        let mut config = RedisConfig::default();
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter {
                "hash_tags=true" => config.hash_tags = true,
                "hash_tags=false" => config.hash_tags = false,
                _ => {
                    return Err(format!(
                        "{parameter:?} is no parameter of carts: use hash_tags=true or false"
                    ));
                }
            }
        }
        Ok(Self::Redis(url.into(), config))
    }
}

impl fmt::Display for CartsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("store"),
            Self::Redis(url, _) => f.write_str(&without_password(url)),
        }
    }
}

impl fmt::Debug for CartsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl CartsUrl {
    /// The whole address, a password in it too; for another process, never for a person.
    pub fn whole(&self) -> String {
        match self {
            Self::Store => "store".into(),
            Self::Redis(url, config) if config.hash_tags => format!("{url}?hash_tags=true"),
            Self::Redis(url, _) => url.clone(),
        }
    }

    /// The store with its carts where they are to be.
    pub async fn around(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>> {
        match self {
            Self::Store => Ok(store),
            Self::Redis(url, config) => {
                let carts = RedisCarts::connect(url, config.clone(), store).await;
                Ok(Arc::new(carts.with_context(|| format!("the carts in {self} can't be used"))?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lastunit_store::Isolation;

    use super::*;

    #[test]
    fn a_store_is_named_by_its_kind_and_place() {
        assert_eq!("sqlite:a/b.db".parse(), Ok(StoreUrl::Sqlite("a/b.db".into())));
        assert_eq!("sqlite:///tmp/b.db".parse(), Ok(StoreUrl::Sqlite("/tmp/b.db".into())));
        for wrong in ["", "lastunit.db", "sqlite:", "sqlite::memory:", "mongodb://x", "postgres:x"] {
            assert!(wrong.parse::<StoreUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_servers_limits_are_part_of_its_address() {
        let url = "postgres://shop@db/lastunit?isolation=serializable&sslmode=disable&max_connections=4&\
                   prepared=false&lock_timeout_ms=50";
        let Ok(StoreUrl::Postgres(url, config)) = url.parse() else { panic!("a PostgreSQL server") };
        assert_eq!(url, "postgres://shop@db/lastunit?sslmode=disable");
        assert_eq!((config.isolation, config.prepared), (Isolation::Serializable, false));
        assert_eq!((config.max_connections.get(), config.lock_timeout), (4, Duration::from_millis(50)));
        let store = StoreUrl::Postgres(url, config);
        assert_eq!(store.whole().parse(), Ok(store));
        for wrong in ["isolation=none", "max_connections=0", "prepared=maybe", "lock_timeout_ms=0"] {
            assert!(format!("mysql://db/x?{wrong}").parse::<StoreUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = |url: &str| url.parse::<StoreUrl>().expect("a store").to_string();
        assert_eq!(shown("postgres://shop:se:cr@t@db:5433/x"), "postgres://shop@db:5433/x");
        assert_eq!(shown("mysql://shop@db/x"), "mysql://shop@db/x");
        let carts: CartsUrl = "redis://:secret@cache:6379/1".parse().expect("carts");
        assert_eq!(carts.to_string(), "redis://@cache:6379/1");
        let wrong = "mongo://shop:secret@db/x".parse::<StoreUrl>().expect_err("no store");
        assert!(!wrong.contains("secret"), "{wrong}");
    }

    #[test]
    fn carts_are_in_the_store_or_in_redis() {
        assert_eq!("store".parse(), Ok(CartsUrl::Store));
        let Ok(CartsUrl::Redis(url, config)) = "redis+cluster://a:1,b:2?hash_tags=true".parse() else {
            panic!("a cluster")
        };
        assert_eq!((url.as_str(), config.hash_tags), ("redis+cluster://a:1,b:2", true));
        for wrong in ["", "memcached://x", "redis:x", "redis://x?hash_tags=maybe"] {
            assert!(wrong.parse::<CartsUrl>().is_err(), "{wrong}");
        }
    }
}
