//! Real database servers, from Debian's packages: each on a free loopback port, with its data in a folder of its own.
//!
//! None outlives the process that started it, however that ends: a small shell stands between the two. It holds the
//! other end of a pipe of ours; at its end it kills the server and removes the folder.

mod databases;
mod mariadb;
mod pgbouncer;
mod postgres;
mod redis;
mod small_disk;

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

pub use databases::{Database, Databases};
pub use mariadb::MariaDb;
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use redis::{Redis, RedisCluster};
pub use small_disk::SmallDisk;

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// A line starts the server, and is answered with its process id; the end of input ends everything. A server's
/// processes are those that work in its data: PostgreSQL's lead sessions and groups of their own. Killed, PostgreSQL
/// leaves a segment of shared memory behind, which its lock file names.
const GUARD: &str = r#"
folder=$1
data=$folder/data
while read -r _; do
    wait
    (cd "$data" && exec sh "$folder/command") </dev/null >>"$folder/log" 2>&1 &
    echo $!
done
kill_all() {
    found=
    for process in /proc/[0-9]*; do
        if [ "$process/cwd" -ef "$data" ]; then
            kill -9 "${process#/proc/}"
            found=yes
        fi
    done
    [ "$found" ]
}
rounds=0
while kill_all && [ $rounds -lt 600 ]; do
    sleep 0.1
    rounds=$((rounds + 1))
done
wait
if [ -f "$data/postmaster.pid" ]; then
    set -- $(sed -n 7p "$data/postmaster.pid")
    ipcrm -m "$2"
fi
rm -rf "$folder"
"#;

/// A server program, its data and its guard. Dropped, it is killed and its folder removed.
pub struct Server {
    package: &'static str,
    folder: PathBuf,
    /// Whom it runs as, if not as ourselves.
    user: Option<&'static str>,
    port: u16,
    /// Asks whoever answers on a port where its data is.
    data_behind: fn(u16) -> Result<String, String>,
    guard: Mutex<Guard>,
}

struct Guard {
    shell: Child,
    /// Closed, it ends the server.
    orders: Option<ChildStdin>,
    pids: BufReader<ChildStdout>,
}

impl Server {
    /// An empty folder, and a guard. Who is root has the server run as `user`: it may refuse to be root.
    fn new(
        package: &'static str,
        user: &'static str,
        data_behind: fn(u16) -> Result<String, String>,
    ) -> Self {
        Self::new_in(&std::env::temp_dir(), package, user, data_behind)
    }

    /// The same in this folder, which `user` has to be able to enter.
    fn new_in(
        parent: &Path,
        package: &'static str,
        user: &'static str,
        data_behind: fn(u16) -> Result<String, String>,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("lastunit-").tempdir_in(parent);
        let folder = folder.expect("a temporary folder").keep();
        let folder = folder.canonicalize().expect("the folder");
        let mut shell = quiet("sh")
            .args(["-c", GUARD, "guard"])
            .arg(&folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the tests: their end is the guard's sign.
            .process_group(0)
            .spawn()
            .expect("sh runs");
        let orders = shell.stdin.take();
        let pids = BufReader::new(shell.stdout.take().expect("a pipe"));
        let root = fs::metadata("/proc/self").expect("Linux").uid() == 0;
        let guard = Mutex::new(Guard { shell, orders, pids });
        let server = Self { package, folder, user: root.then_some(user), port: 0, data_behind, guard };
        fs::create_dir(server.data()).expect("a folder for the data");
        if root {
            finish(quiet("chown").args(["-R", &format!("{user}:")]).arg(&server.folder))
                .unwrap_or_else(|said| panic!("{package}: {said}"));
        }
        server
    }

    /// Where its data is.
    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A command line that runs as the server's user.
    fn as_user(&self, line: Vec<String>) -> Vec<String> {
        let Some(user) = self.user else { return line };
        let drop = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--"];
        drop.into_iter().map(String::from).chain(line).collect()
    }

    /// Runs a program that prepares the data to its end.
    fn prepare(&self, line: Vec<String>) {
        let line = self.as_user(line);
        let ran = finish(quiet(&line[0]).args(&line[1..]).current_dir(self.data()));
        ran.unwrap_or_else(|said| panic!("{}: {} failed: {said}", self.package, line.join(" ")));
    }

    /// Starts the program that `line` gives, on a port that `free_port` gives.
    fn launch(mut self, free_port: fn() -> u16, line: impl Fn(&Self) -> Vec<String>) -> Self {
        for _ in 0..10 {
            self.port = free_port();
            let quoted = self
                .as_user(line(&self))
                .into_iter()
                .map(|word| format!("'{}'", word.replace('\'', r"'\''")));
            let command = format!("exec {}\n", quoted.collect::<Vec<_>>().join(" "));
            fs::write(self.folder.join("command"), command).expect("the command");
            if self.try_to_start() {
                return self;
            }
        }
        panic!("{}: every port was taken: {}", self.package, self.log())
    }

    /// Waits until it answers; false if its port was taken.
    fn try_to_start(&self) -> bool {
        let logged = self.log().len();
        let pid = {
            let mut guard = self.guard.lock().expect("not poisoned");
            guard.orders.as_mut().expect("until it is dropped").write_all(b"\n").expect("a guard");
            let mut pid = String::new();
            guard.pids.read_line(&mut pid).expect("a process id");
            pid.trim().to_owned()
        };
        let data = self.data();
        let data = data.to_str().expect("a path in UTF-8");
        let begun = Instant::now();
        loop {
            let answer = (self.data_behind)(self.port);
            if answer.as_ref().is_ok_and(|answer| answer.contains(data)) {
                return true;
            }
            let ended = has_ended(&pid);
            let log = self.log();
            let said = log.get(logged..).unwrap_or(&log);
            if ended && said.contains("Address already in use") {
                return false;
            }
            if ended || begun.elapsed() > PATIENCE {
                let lines: Vec<&str> = said.lines().collect();
                let last = lines[lines.len().saturating_sub(30)..].join("\n");
                panic!("{} doesn't answer: {answer:?}; its log ends:\n{last}", self.package);
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// The port on 127.0.0.1 that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its data and its log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Everything that it logged so far.
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Kills all its processes with SIGKILL, and waits for their end.
    pub fn kill(&self) {
        let begun = Instant::now();
        let mut killed = BTreeSet::new();
        loop {
            let processes = self.processes();
            if processes.is_empty() && killed.iter().all(|pid: &String| has_ended(pid)) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{} can't be killed", self.package);
            send("-KILL", &processes);
            killed.extend(processes);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again after [`Server::kill`], on the same data and the same port.
    pub fn start_again(&self) {
        assert!(self.processes().is_empty(), "{} is still running", self.package);
        let begun = Instant::now();
        // A port that nobody listens on may be lent to a client for a moment.
        while !self.try_to_start() {
            assert!(begun.elapsed() < PATIENCE, "{}: its port is taken", self.package);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Whether it runs: it may have ended by itself.
    pub fn is_running(&self) -> bool {
        !self.processes().is_empty()
    }

    /// Stops all its processes with SIGSTOP: connections stay open, and nobody answers.
    pub fn freeze(&self) {
        let mut frozen = BTreeSet::new();
        loop {
            let processes = self.processes();
            if processes == frozen {
                return;
            }
            send("-STOP", &processes);
            frozen = processes;
        }
    }

    /// Lets it go on after [`Server::freeze`].
    pub fn thaw(&self) {
        send("-CONT", &self.processes());
    }

    /// The ids of all its processes.
    fn processes(&self) -> BTreeSet<String> {
        let data = self.data();
        let mut pids = BTreeSet::new();
        for entry in fs::read_dir("/proc").expect("Linux").flatten() {
            let works_in = fs::read_link(entry.path().join("cwd"));
            if works_in.is_ok_and(|folder| folder == data) {
                pids.insert(entry.file_name().into_string().expect("a number"));
            }
        }
        pids
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(guard) = self.guard.get_mut() {
            guard.orders.take();
            guard.shell.wait().ok();
        }
    }
}

/// Whether a process has ended, but perhaps for its number: all its threads, since the first may be gone while others
/// still hold its sockets.
fn has_ended(pid: &str) -> bool {
    let process = Path::new("/proc").join(pid);
    let Ok(stat) = fs::read_to_string(process.join("stat")) else { return true };
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    let threads = fs::read_dir(process.join("task")).map_or(0, Iterator::count);
    matches!(state, Some('Z' | 'X')) && threads <= 1
}

/// Sends a signal, as kill names it. Some may have ended meanwhile.
fn send(signal: &str, processes: &BTreeSet<String>) {
    quiet("kill").arg(signal).args(processes).stderr(Stdio::null()).status().expect("kill runs");
}

/// A program in a plain environment: ours could speak to its clients.
fn quiet(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// Runs a command to its end: what it printed, or what it complained of.
fn finish(command: &mut Command) -> Result<String, String> {
    let ended = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if ended.status.success() {
        Ok(text(&ended.stdout))
    } else {
        Err(format!("{}{}", text(&ended.stdout), text(&ended.stderr)))
    }
}

/// Where a program is, among these folders and the usual ones.
fn program(name: &str, package: &str, folders: &[PathBuf]) -> String {
    let usual = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"].map(PathBuf::from);
    let mut candidates = folders.iter().chain(&usual).map(|folder| folder.join(name));
    let found = candidates.find(|path| path.is_file());
    let found = found.unwrap_or_else(|| panic!("{name} is missing: install the Debian package {package}"));
    found.into_os_string().into_string().expect("a path in UTF-8")
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Strings of a command line.
fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(String::from).into()
}
