//! The binary `lastunit`, as its users run it.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::Client;

/// The binary of the profile that this test was built with. Cargo names the binaries of the test's own package
/// alone, so that it is built here if it isn't there or older than its sources.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().expect("this test's own path");
        let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps/test");
        let binary = profile.join("lastunit").with_extension(std::env::consts::EXE_EXTENSION);
        if !is_fresh(&binary) {
            let name = match profile.file_name().and_then(|name| name.to_str()) {
                None | Some("debug") => "dev",
                Some(name) => name,
            };
            let built = Command::new(env!("CARGO"))
                .args(["build", "--quiet", "-p", "lastunit-cli", "--bin", "lastunit", "--profile", name])
                .arg("--target-dir")
                .arg(profile.parent().expect("target"))
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .status();
            assert!(built.expect("cargo").success(), "the binary can't be built");
        }
        binary
    })
}

/// Whether a binary is newer than every source that cargo says it was made of.
fn is_fresh(binary: &Path) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|file| file.modified());
    let sources = std::fs::read_to_string(binary.with_extension("d"));
    let (Ok(built), Ok(sources)) = (changed(binary), sources) else { return false };
    let mut sources = sources.split_whitespace().skip(1);
    sources.all(|source| changed(Path::new(source)).is_ok_and(|changed| changed < built))
}

/// What a command left.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Ran {
    fn of(ended: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Self { code: ended.status.code(), out: text(ended.stdout), err: text(ended.stderr) }
    }

    /// The output of a command that has to succeed.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }
}

/// A database, a folder to work in, and the commands on it.
pub struct Database {
    folder: tempfile::TempDir,
    store: String,
    carts: String,
    served: AtomicUsize,
}

impl Default for Database {
    /// A file in its folder.
    fn default() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = format!("sqlite:{}", folder.path().join("shop.db").display());
        Self { folder, store, carts: "store".into(), served: AtomicUsize::new(0) }
    }
}

impl Database {
    /// The admin's key of every server on it.
    pub const KEY: &str = "service-key-of-a-test-0123456789abcdef";

    /// On other servers, by the addresses of its store and its carts.
    pub fn at(store: impl Into<String>, carts: impl Into<String>) -> Self {
        Self { store: store.into(), carts: carts.into(), ..Self::default() }
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LASTUNIT_") {
                command.env_remove(name);
            }
        }
        command.args(args).env("LASTUNIT_STORE", &self.store).env("LASTUNIT_CARTS", &self.carts);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.command(args);
        let ended = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
        Ran::of(ended.expect("the binary runs"))
    }

    /// Runs a command, interrupts it as Ctrl-C does after so long, and waits for its end.
    pub async fn interrupt(&self, args: &[&str], after: Duration) -> Ran {
        let mut command = self.command(args);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        tokio::time::sleep(after).await;
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("no panic");
        Ran::of(ended.expect("its end"))
    }

    /// Starts a server with [`Database::KEY`].
    pub async fn serve(&self, args: &[&str]) -> Process {
        self.serve_with(args, &[("LASTUNIT_SERVICE_KEY", Self::KEY)]).await
    }

    /// Starts a server with this environment.
    pub async fn serve_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Process {
        let started = self.try_to_serve(args, environment).await;
        started.unwrap_or_else(|ran| panic!("the server ended before it listened: {ran:?}"))
    }

    /// Starts a server with this environment, or says what it left if it ended before it listened.
    pub async fn try_to_serve(&self, args: &[&str], environment: &[(&str, &str)]) -> Result<Process, Ran> {
        let log = self.path(&format!("log-{}", self.served.fetch_add(1, Ordering::Relaxed)));
        let mut command = self.command(&["serve"]);
        command.args(args).env("LASTUNIT_LISTEN", "127.0.0.1:0").envs(environment.iter().copied());
        command.stdout(Stdio::piped()).stderr(File::create(&log).expect("a file for the log"));
        tokio::task::spawn_blocking(move || Process::start(command, log)).await.expect("no panic")
    }

    /// Asserts that every invariant holds; what the check prints.
    pub async fn assert_holds(&self) -> String {
        self.run(&["check"]).await.ok()
    }
}

/// A running server; dropped, it is killed.
pub struct Process {
    child: Child,
    log: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it printed until then.
    pub greeting: String,
}

impl Process {
    fn start(mut command: Command, log: PathBuf) -> Result<Self, Ran> {
        let mut child = command.spawn().expect("the binary runs");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut greeting = String::new();
        let address = loop {
            let begin = greeting.len();
            if out.read_line(&mut greeting).expect("text") == 0 {
                let code = child.wait().expect("its end").code();
                return Err(Ran {
                    code,
                    out: greeting,
                    err: std::fs::read_to_string(&log).expect("the log"),
                });
            }
            if let Some(address) = greeting[begin..].trim().strip_prefix("listening on http://") {
                break address.parse().expect("an address");
            }
        };
        // Read on: a pipe that nobody reads would fail what it still prints.
        std::thread::spawn(move || out.read_to_end(&mut Vec::new()));
        Ok(Self { child, log, address, greeting })
    }

    /// A client with [`Database::KEY`].
    pub fn admin(&self) -> Client {
        Client::new(self.address).keyed(Database::KEY)
    }

    /// The same for a buyer.
    pub fn buyer(&self, name: &str) -> Client {
        self.admin().buyer(name)
    }

    /// Everything that it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log")
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends a signal, as kill names it.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Sends SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        self.child.kill().expect("a running server");
        self.child.wait().expect("its end");
    }

    /// Waits until it has ended by itself; how, and its log.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        tokio::task::spawn_blocking(move || (self.child.wait().expect("its end"), self.log()))
            .await
            .expect("no panic")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
