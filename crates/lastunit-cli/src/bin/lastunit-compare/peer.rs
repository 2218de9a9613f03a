//! A peer: a script of `bench/peers/` that installs and serves it until it is stopped.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::io::{BufRead, BufReader};
use tokio::{sync::oneshot, time::timeout};

/// How long a script may take from its start until it serves; it is installed by then.
const PATIENCE: Duration = Duration::from_secs(180);

/// The servers that all of a comparison use.
#[derive(Debug, Clone)]
pub struct Servers {
    /// Of PostgreSQL, whose user may make databases.
    pub postgres: String,
    /// Of Redis, without a database.
    pub redis: String,
}

/// What a script says of its peer as soon as that serves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Served {
    /// Where it serves: `http://HOST:PORT`.
    pub url: String,
    /// Its database on PostgreSQL.
    pub database: String,
    /// Its Redis, if it uses one.
    #[serde(default)]
    pub redis: String,
    /// What it is made of.
    pub versions: String,
}

/// A peer that serves. Dropped, it is stopped.
pub struct Running {
    script: Child,
    pub served: Served,
}

impl Running {
    /// Runs `bench/peers/NAME/start ARGUMENT`; what it writes to standard error is kept in `target/peers/NAME.log`.
    pub async fn start(name: &str, argument: &str, servers: &Servers) -> Result<Self> {
        let log = Path::new("target/peers").join(format!("{name}.log"));
        fs::create_dir_all("target/peers")?;
        let mut script = Command::new(format!("bench/peers/{name}/start"))
            .arg(argument)
            .env("PEER_POSTGRES", &servers.postgres)
            .env("PEER_REDIS", &servers.redis)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("bench/peers/{name}/start can't be run: start in the repository"))?;
        let said = script.stdout.take().context("no standard output")?;
        let (tell, told) = oneshot::channel();
        std::thread::spawn(move || tell.send(first_served(said)));
        let served = match timeout(PATIENCE, told).await {
            Ok(Ok(Ok(served))) => served,
            outcome => {
                stop(&mut script);
                let why = match outcome {
                    Err(_) => format!("it doesn't serve after {} s", PATIENCE.as_secs()),
                    Ok(Ok(Err(error))) => format!("{error:#}"),
                    Ok(_) => String::from("it ended"),
                };
                bail!("{name}: {why}; {} says: {}", log.display(), last_line(&log));
            }
        };
        Ok(Self { script, served })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        stop(&mut self.script);
    }
}

/// SIGTERM, with which the script stops what it started.
fn stop(script: &mut Child) {
    Command::new("kill").arg(script.id().to_string()).stderr(Stdio::null()).status().ok();
    script.wait().ok();
}

fn first_served(said: ChildStdout) -> Result<Served> {
    for line in BufReader::new(said).lines() {
        if let Some(served) = parse(&line?)? {
            return Ok(served);
        }
    }
    bail!("it ended before it served")
}

fn parse(line: &str) -> Result<Option<Served>> {
    if !line.starts_with('{') {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(line).with_context(|| format!("not what a peer says: {line}"))?))
}

/// The last line that says something: mostly the reason.
pub fn last_line(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_says_where_it_serves_in_one_line() {
        let line = r#"{"url": "http://127.0.0.1:1", "database": "postgres://a@h/b", "versions": "Shop 1"}"#;
        let served = parse(line).expect("read").expect("served");
        assert_eq!((served.url.as_str(), served.redis.as_str()), ("http://127.0.0.1:1", ""));
        assert_eq!(parse("starting").expect("read"), None);
        assert!(parse(r#"{"url": 1}"#).is_err());
    }

    #[test]
    fn the_reason_is_the_last_line_of_a_log() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "installing\nerror: no network \n\n").expect("written");
        assert_eq!(last_line(file.path()), "error: no network");
        assert_eq!(last_line(Path::new("/nonexistent")), "nothing");
    }
}
