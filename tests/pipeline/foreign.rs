//! Programs in other languages, with the clients that others wrote: pinned in `tests/clients`, installed into `target/`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A Python with the pinned clients of `tests/clients/requirements.txt`.
pub struct Python {
    pub program: PathBuf,
}

impl Python {
    /// Installs the clients once; a change of the pins installs them anew.
    pub fn with_clients() -> Self {
        let (folder, pins) = (folder("clients"), script("requirements.txt"));
        let program = folder.join("bin/python");
        once(&folder, std::slice::from_ref(&pins), || {
            said(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
            said(Command::new(&program).args(["-m", "pip", "install", "--quiet", "--no-deps", "-r"]).arg(&pins));
        });
        Self { program }
    }

    /// A script of `tests/clients` with its arguments.
    pub fn script(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(script(name)).args(arguments);
        command
    }

    /// Runs a script of `tests/clients`, and returns the JSON that it prints.
    pub fn run(&self, name: &str, arguments: &[&str]) -> Value {
        serde_json::from_str(&said(&mut self.script(name, arguments))).unwrap()
    }
}

/// A Node with the pinned packages of `tests/clients/package-lock.json`.
pub struct Node {
    /// Where its packages lie: `node_modules` is in here.
    pub folder: PathBuf,
}

impl Node {
    /// Installs the packages once; a change of the pins installs them anew.
    pub fn with_clients() -> Self {
        let (folder, pins) = (folder("packages"), ["package.json", "package-lock.json"].map(script));
        once(&folder, &pins, || {
            fs::create_dir_all(&folder).unwrap();
            for pin in &pins {
                fs::copy(pin, folder.join(pin.file_name().unwrap())).unwrap();
            }
            let install = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
            said(Command::new("npm").args(install).current_dir(&folder));
        });
        Self { folder }
    }

    /// A script of `tests/clients` with its arguments; it finds the packages by `NODE_PACKAGES`.
    pub fn script(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("node");
        command.arg(script(name)).args(arguments).env("NODE_PACKAGES", self.folder.join("package.json"));
        command
    }
}

/// Fills a folder unless it was filled from the same pins before; tests of one run fill it one after the other.
fn once(folder: &Path, pins: &[PathBuf], fill: impl FnOnce()) {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let wanted: String = pins.iter().map(|pin| fs::read_to_string(pin).unwrap()).collect();
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).ok().as_ref() != Some(&wanted) {
        fill();
        fs::write(&installed, wanted).unwrap();
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A file of `tests/clients`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// What a command prints; fails with all that it said when it fails.
pub fn said(command: &mut Command) -> String {
    told(command, "")
}

/// As [`said`], with something on its standard input.
pub fn told(command: &mut Command, input: &str) -> String {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = piped.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    // A program that ends without reading says by its exit code whether that is fine.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let done = child.wait_with_output().unwrap();
    let (out, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{command:?} ended with {}:\n{out}{errors}", done.status);
    out.into_owned()
}
