//! The way to Redis: one connection that all calls share, made anew when it is lost.

use std::time::Instant;

use futures_util::future::join_all;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError,
    RedisResult, ServerErrorKind, Value,
    aio::MultiplexedConnection,
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    io::tcp::TcpSettings,
};
use tokio::{
    sync::{Mutex, Semaphore},
    time::{timeout, timeout_at},
};

use super::{config::RedisConfig, keys::Keys};

/// A script that Redis runs as a whole.
pub(super) struct Script {
    code: &'static str,
    hash: String,
    /// Whether it gives a cart as it stands, which plain commands do as well.
    is_read: bool,
}

impl Script {
    pub fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned(), is_read: false }
    }

    /// The one that reads a cart: where all are in one place, it is done by plain commands, which for many carts takes less
    /// than half the time.
    pub fn of_read(code: &'static str) -> Self {
        Self { is_read: true, ..Self::new(code) }
    }
}

/// Redis didn't do what it was asked, or it isn't known whether it did; the text is for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away(pub String);

impl From<RedisError> for Away {
    fn from(error: RedisError) -> Self {
        Self(error.to_string())
    }
}

pub(super) struct Link {
    server: Server,
    config: RedisConfig,
    commands: Semaphore,
    slot: Mutex<Slot>,
}

enum Server {
    One(Client),
    Cluster(Box<ClusterClient>),
}

#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    /// Connections made so far: the number of the one that is there.
    made: u64,
    failed: Option<(Instant, Away)>,
}

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// The answers in the order of the commands; or what is wrong with the connection.
    async fn ask<T: FromRedisValue>(&self, commands: Vec<Cmd>) -> RedisResult<Vec<RedisResult<T>>> {
        match self {
            Self::One(connection) => {
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command);
                }
                pipeline.ignore_errors().query_async(&mut connection.clone()).await
            }
            // Each to its node.
            Self::Cluster(connection) => {
                let ask = async |command: Cmd| command.query_async(&mut connection.clone()).await;
                Ok(join_all(commands.into_iter().map(ask)).await)
            }
        }
    }
}

/// Asks for the three fields of an answer for each of these carts, in one transaction.
async fn ask_plainly<T: FromRedisValue>(
    connection: &MultiplexedConnection,
    carts: &[&Keys],
) -> RedisResult<Vec<RedisResult<T>>> {
    let mut pipeline = Pipeline::with_capacity(1 + 2 * carts.len());
    pipeline.mget(carts.iter().map(|keys| &keys.applied_seq).collect::<Vec<_>>());
    for keys in carts {
        pipeline.hgetall(&keys.lines).smembers(&keys.selected);
    }
    pipeline.atomic().ignore_errors();
    let fields: Vec<RedisResult<Value>> = pipeline.query_async(&mut connection.clone()).await?;
    let mut fields = fields.into_iter();
    let mut next = || fields.next().unwrap_or(Ok(Value::Nil));
    let seqs: Vec<Value> = FromRedisValue::from_redis_value(next()?)?;
    let answers = seqs.into_iter().map(|seq| {
        // Both are taken, whichever of them is an error.
        let (lines, selected) = (next(), next());
        Ok(T::from_redis_value(Value::Array(vec![seq, lines?, selected?]))?)
    });
    Ok(answers.collect())
}

impl Link {
    /// For an address, without connecting yet; the error says what is wrong with the address.
    pub fn new(url: &str, config: RedisConfig) -> Result<Self, String> {
        let server = server(url, &config)?;
        let commands = Semaphore::new(config.max_commands.get().min(Semaphore::MAX_PERMITS));
        Ok(Self { server, config, commands, slot: Mutex::default() })
    }

    pub fn is_cluster(&self) -> bool {
        matches!(self.server, Server::Cluster(_))
    }

    /// Connects, if that isn't done yet.
    pub async fn connect(&self) -> Result<(), Away> {
        self.connection().await.map(drop)
    }

    /// Runs a script on a cart's keys. See [`Link::run_all`].
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        cart: &Keys,
        deadline: Instant,
        args: impl Fn(&mut Cmd),
    ) -> Result<T, Away> {
        let answer = self.run_all(script, &[cart], deadline, |_, command| args(command)).await.pop();
        answer.unwrap_or_else(|| Err(Away("there was no answer".into())))
    }

    /// Runs a script on each cart's keys, unless the deadline has passed. `args` adds the arguments for the cart that
    /// stands there to its command. It may be run twice: scripts are written so that this comes to the same.
    pub async fn run_all<T: FromRedisValue>(
        &self,
        script: &Script,
        carts: &[&Keys],
        deadline: Instant,
        args: impl Fn(usize, &mut Cmd),
    ) -> Vec<Result<T, Away>> {
        match self.try_to_run(script, carts, deadline, args).await {
            Ok(answers) => answers.into_iter().map(|answer| answer.map_err(Away::from)).collect(),
            Err(away) => carts.iter().map(|_| Err(away.clone())).collect(),
        }
    }

    async fn try_to_run<T: FromRedisValue>(
        &self,
        script: &Script,
        carts: &[&Keys],
        deadline: Instant,
        args: impl Fn(usize, &mut Cmd),
    ) -> Result<Vec<RedisResult<T>>, Away> {
        let command = |name: &str, script: &str, at: usize| {
            let (mut command, keys) = (redis::cmd(name), carts[at]);
            command.arg(script).arg(3).arg(&keys.lines).arg(&keys.selected).arg(&keys.applied_seq);
            args(at, &mut command);
            command
        };
        let permit = timeout_at(deadline.into(), self.commands.acquire()).await;
        let permit = permit.map_err(|_| Away("it takes too long".into()))?;
        let _permit = permit.map_err(|_| Away("the carts are closed".into()))?;
        let mut tries = 1;
        loop {
            let (number, connection) = self.connection().await?;
            let answers = async {
                if let Connection::One(connection) = &connection
                    && script.is_read
                {
                    return ask_plainly(connection, carts).await;
                }
                let by_hash = (0..carts.len()).map(|at| command("EVALSHA", &script.hash, at)).collect();
                let mut answers = connection.ask(by_hash).await?;
                let unknown: Vec<usize> = answers
                    .iter()
                    .enumerate()
                    .filter(|(_, answer)| is_no_script(answer))
                    .map(|it| it.0)
                    .collect();
                if !unknown.is_empty() {
                    // Not SCRIPT LOAD, which in a cluster asks every node, and fails if any is away.
                    let by_code = unknown.iter().map(|at| command("EVAL", script.code, *at)).collect();
                    for (at, answer) in unknown.iter().zip(connection.ask(by_code).await?) {
                        answers[*at] = answer;
                    }
                }
                Ok(answers)
            };
            let Ok(answers) = timeout(self.config.response_timeout, answers).await else {
                self.give_up(number).await;
                return Err(Away(format!("no answer in {:?}", self.config.response_timeout)));
            };
            let errors: Vec<&RedisError> = match &answers {
                Ok(answers) => answers.iter().filter_map(|answer| answer.as_ref().err()).collect(),
                Err(error) => vec![error],
            };
            if errors.iter().any(|error| is_of_connection(error)) {
                self.give_up(number).await;
            }
            // A connection may have been lost long ago, and nobody noticed.
            let dropped = errors.iter().any(|error| error.is_connection_dropped());
            if !dropped || tries == 2 || deadline <= Instant::now() {
                return answers.map_err(Away::from);
            }
            tries += 1;
        }
    }

    /// Runs no more commands.
    pub async fn close(&self) {
        self.commands.close();
        self.slot.lock().await.connection = None;
    }

    /// The connection and its number. Whoever waits while it is made shares the attempt's outcome.
    async fn connection(&self) -> Result<(u64, Connection), Away> {
        let asked = Instant::now();
        let mut slot = self.slot.lock().await;
        if let Some(connection) = &slot.connection {
            return Ok((slot.made, connection.clone()));
        }
        if let Some((at, away)) = &slot.failed
            && *at >= asked
        {
            return Err(away.clone());
        }
        let connection = match timeout(self.config.connect_timeout, self.server.connect(&self.config)).await {
            Ok(connection) => connection.map_err(Away::from),
            Err(_) => Err(Away(format!("no connection in {:?}", self.config.connect_timeout))),
        };
        match connection {
            Ok(connection) => {
                slot.made += 1;
                slot.failed = None;
                slot.connection = Some(connection.clone());
                Ok((slot.made, connection))
            }
            Err(away) => {
                slot.failed = Some((Instant::now(), away.clone()));
                Err(away)
            }
        }
    }

    /// Lets the next command make a new connection, unless there is a newer one than this. A cluster's connection
    /// looks after its nodes itself, and one node that is away is no reason to leave the others.
    async fn give_up(&self, number: u64) {
        if self.is_cluster() {
            return;
        }
        let mut slot = self.slot.lock().await;
        if slot.made == number {
            slot.connection = None;
        }
    }
}

impl Server {
    async fn connect(&self, config: &RedisConfig) -> RedisResult<Connection> {
        match self {
            Self::One(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(config.connect_timeout))
                    .set_response_timeout(Some(config.response_timeout));
                client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::One)
            }
            Self::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}

fn is_no_script<T>(answer: &RedisResult<T>) -> bool {
    answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
}

/// Whether another connection may do better: this one is lost or silent, or leads to a server that is none for
/// writing any more.
fn is_of_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown))
}

fn server(url: &str, config: &RedisConfig) -> Result<Server, String> {
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        // A peer that vanished without a word is noticed then, instead of after a quarter of an hour.
        .set_user_timeout(config.response_timeout * 2);
    let invalid = |error: RedisError| format!("not an address of Redis: {error}");
    if let Some(nodes) = url.strip_prefix("redis+cluster://") {
        let nodes = nodes.trim_end_matches('/');
        let (user, nodes) = match nodes.rsplit_once('@') {
            Some((user, nodes)) => (format!("{user}@"), nodes),
            None => (String::new(), nodes),
        };
        let nodes = nodes.split(',').map(|node| format!("redis://{user}{node}"));
        // A node may take half of the time, so that there is some left to try again, or elsewhere.
        let client = ClusterClientBuilder::new(nodes)
            .connection_timeout(config.connect_timeout / 2)
            .response_timeout(config.response_timeout / 2)
            .overall_response_timeout(Some(config.response_timeout))
            .min_retry_wait(10)
            .max_retry_wait(100)
            .retries(4)
            .tcp_settings(tcp);
        client.build().map(|client| Server::Cluster(client.into())).map_err(invalid)
    } else if url.starts_with("redis://") {
        let info = url.into_connection_info().map_err(invalid)?.set_tcp_settings(tcp);
        Client::open(info).map(Server::One).map_err(invalid)
    } else {
        Err("not an address of Redis: use redis://HOST:PORT or redis+cluster://HOST:PORT,HOST:PORT".into())
    }
}
