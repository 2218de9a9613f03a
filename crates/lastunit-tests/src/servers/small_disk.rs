//! A disk that is soon full.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Stdio},
};

use super::{finish, quiet};

/// Mounts it, and takes it away at the end of input: it doesn't outlive the process that it was mounted for.
const GUARD: &str = r#"
mount -t tmpfs -o "size=$2,mode=0755" lastunit "$1" || exit
echo mounted
read -r _
umount -l "$1"
rmdir "$1"
"#;

const MIB: u64 = 1024 * 1024;

/// A file system of a few MiB in memory. Dropped, it is gone.
pub struct SmallDisk {
    folder: PathBuf,
    shell: Child,
    /// Closed, it ends the disk.
    end: Option<ChildStdin>,
}

impl SmallDisk {
    /// Mounts one, as root or with sudo.
    pub fn new(mib: u64) -> Self {
        let folder =
            tempfile::Builder::new().prefix("lastunit-disk-").tempdir().expect("a temporary folder").keep();
        let folder = folder.canonicalize().expect("the folder");
        // Database servers run as users of their own.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("our own folder");
        let root = fs::metadata("/proc/self").expect("Linux").uid() == 0;
        let mut command = if root { quiet("sh") } else { quiet("sudo") };
        if !root {
            command.args(["-n", "sh"]);
        }
        command.args(["-c", GUARD, "guard"]).arg(&folder).arg(format!("{mib}m"));
        let mut shell = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("sh, or sudo, runs");
        let end = shell.stdin.take();
        let mut said = String::new();
        BufReader::new(shell.stdout.take().expect("a pipe")).read_line(&mut said).expect("text");
        assert_eq!(
            said, "mounted\n",
            "a small disk has to be mounted: run as root, or where sudo asks for nothing"
        );
        Self { folder, shell, end }
    }

    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Fills it but for so many MiB.
    pub fn fill(&self, free_mib: u64) {
        let free = finish(quiet("df").args(["-B1", "--output=avail"]).arg(&self.folder)).expect("df runs");
        let free: u64 = free.lines().last().and_then(|line| line.trim().parse().ok()).expect("a number");
        let ballast = vec![0; (free - free_mib * MIB) as usize];
        fs::write(self.ballast(), ballast).expect("it isn't full yet");
    }

    /// Frees what [`SmallDisk::fill`] took.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.end.take();
        self.shell.wait().ok();
    }
}
