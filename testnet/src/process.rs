//! Nodes as processes: start, ask, signal, clean up.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::program::program;

/// A node that is not up within this is not coming.
const START_LIMIT: Duration = Duration::from_mins(1);
/// A node that was asked to stop has this long.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// Why a test swarm does not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestnetError {
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A node ended by itself.
    #[error("node {index} ended by itself:\n{log}")]
    Ended {
        /// Which.
        index: usize,
        /// The end of its log.
        log: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {limit:?}")]
    Late {
        /// What.
        what: String,
        /// The limit.
        limit: Duration,
    },
}

/// Waits until something is so, looking often; an error when it takes longer than `limit`.
pub fn wait_for(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) -> Result<(), TestnetError> {
    let since = Instant::now();
    while !is_so() {
        if since.elapsed() > limit {
            return Err(TestnetError::Late { what: what.to_owned(), limit });
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

/// What a command printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// How a node is started.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// What renders: `cpu`, `gpu` or `auto`.
    pub backend: String,
    /// Further arguments of `run`.
    pub arguments: Vec<String>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self { backend: "cpu".into(), arguments: Vec::new() }
    }
}

impl NodeOptions {
    /// Joins the swarm of a ticket.
    pub fn joining(ticket: &str) -> Self {
        Self { arguments: vec!["--join".into(), ticket.into()], ..Self::default() }
    }
}

/// A swarm of processes on loopback, in a folder of its own.
#[derive(Debug)]
pub struct Testnet {
    folder: tempfile::TempDir,
    nodes: Vec<Node>,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    index: usize,
    data_dir: PathBuf,
    log: PathBuf,
    child: Child,
}

fn io_error(what: &str) -> impl FnOnce(io::Error) -> TestnetError {
    let what = what.to_owned();
    move |source| TestnetError::Io { what, source }
}

impl Testnet {
    /// An empty swarm.
    pub fn new() -> Result<Self, TestnetError> {
        let folder =
            tempfile::Builder::new().prefix("p2c2r-test-").tempdir().map_err(io_error("temporary folder"))?;
        Ok(Self { folder, nodes: Vec::new() })
    }

    /// A swarm of so many nodes: the others know nothing but the first one's ticket. Returns when everyone knows
    /// everyone.
    pub fn formed(count: usize) -> Result<Self, TestnetError> {
        let mut testnet = Self::new()?;
        testnet.start(&NodeOptions::default())?;
        let ticket = testnet.nodes[0].ticket()?;
        for _ in 1..count {
            testnet.start(&NodeOptions::joining(&ticket))?;
        }
        testnet.wait_until_formed(count)?;
        Ok(testnet)
    }

    /// Waits until every node has heard from all others.
    pub fn wait_until_formed(&self, count: usize) -> Result<(), TestnetError> {
        for node in &self.nodes {
            wait_for(&format!("node {} hearing from all others", node.index), START_LIMIT, || {
                node.contributors().len() >= count - 1
            })?;
        }
        Ok(())
    }

    /// Starts one more node and waits until it answers.
    pub fn start(&mut self, options: &NodeOptions) -> Result<&mut Node, TestnetError> {
        let index = self.nodes.len();
        let node = Node::start(index, &self.folder.path().join(format!("node-{index}")), options)?;
        self.nodes.push(node);
        self.wait_until_up(index)
    }

    /// Starts a node that has ended once more, with what it has kept in its data directory.
    pub fn restart(&mut self, index: usize, options: &NodeOptions) -> Result<&mut Node, TestnetError> {
        let data_dir = self.nodes[index].data_dir.clone();
        self.nodes[index] = Node::start(index, &data_dir, options)?;
        self.wait_until_up(index)
    }

    fn wait_until_up(&mut self, index: usize) -> Result<&mut Node, TestnetError> {
        let node = &mut self.nodes[index];
        let since = Instant::now();
        while node.ask(&["status", "--json"]).is_none() {
            if node.has_ended() {
                return Err(TestnetError::Ended { index, log: node.log() });
            }
            if since.elapsed() > START_LIMIT {
                return Err(TestnetError::Late {
                    what: format!("node {index} coming up"),
                    limit: START_LIMIT,
                });
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(node)
    }

    /// A node, in the order in which they were started.
    pub fn node(&mut self, index: usize) -> &mut Node {
        &mut self.nodes[index]
    }

    /// A path in the swarm's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the program to its end, in the swarm's folder, with a data directory of nobody's.
    pub fn run(&self, arguments: &[&str]) -> Result<Output, TestnetError> {
        run(self.folder.path(), &self.path("nobody"), arguments)
    }

    /// Starts the program likewise; the caller waits for its end.
    pub fn spawn(&self, arguments: &[&str]) -> Result<Child, TestnetError> {
        command(&self.path("nobody"))
            .current_dir(self.folder.path())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(io_error("starting p2c2r-node"))
    }
}

/// Runs the program to its end.
fn run(folder: &Path, data_dir: &Path, arguments: &[&str]) -> Result<Output, TestnetError> {
    let output = command(data_dir)
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(io_error("running p2c2r-node"))?;
    Ok(Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The program with nothing of the tester's own settings.
fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(program());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("P2C2R_") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_LOG").env("P2C2R_DATA_DIR", data_dir).env("XDG_CONFIG_HOME", data_dir);
    command
}

impl Node {
    fn start(index: usize, data_dir: &Path, options: &NodeOptions) -> Result<Self, TestnetError> {
        let log = data_dir.with_extension("log");
        let file = File::create(&log).map_err(io_error("log file"))?;
        let child = command(data_dir)
            .args(["run", "-v", "--no-mdns", "--threads", "1", "--backend", &options.backend])
            .args(["--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"])
            .args(&options.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(io_error("starting p2c2r-node"))?;
        Ok(Self { index, data_dir: data_dir.to_owned(), log, child })
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// What it wrote to its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Runs the program against this node, to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Output, TestnetError> {
        run(self.data_dir.parent().unwrap_or(&self.data_dir), &self.data_dir, arguments)
    }

    /// Starts the program against this node and leaves it running; what it prints is thrown away.
    pub fn spawn(&self, arguments: &[&str]) -> Result<Child, TestnetError> {
        command(&self.data_dir)
            .current_dir(self.data_dir.parent().unwrap_or(&self.data_dir))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(io_error("starting p2c2r-node"))
    }

    /// What a command of this node prints as JSON; `None` while it does not answer.
    pub fn ask(&self, arguments: &[&str]) -> Option<Value> {
        let output = self.run(arguments).ok().filter(|output| output.code == Some(0))?;
        serde_json::from_str(&output.stdout).ok()
    }

    /// Its ticket.
    pub fn ticket(&self) -> Result<String, TestnetError> {
        let output = self.run(&["ticket"])?;
        match output.code {
            Some(0) => Ok(output.stdout.trim().to_owned()),
            _ => Err(TestnetError::Ended { index: self.index, log: output.stderr }),
        }
    }

    /// Ids of the contributors that it has heard from.
    pub fn contributors(&self) -> Vec<String> {
        let peers = self.ask(&["peers", "--json"]).unwrap_or_default();
        let peers = peers["peers"].as_array().cloned().unwrap_or_default();
        peers
            .iter()
            .filter(|peer| peer["contributing"] == true)
            .filter_map(|peer| peer["node"].as_str().map(str::to_owned))
            .collect()
    }

    /// Tiles that it is rendering.
    pub fn tiles_running(&self) -> u64 {
        self.ask(&["status", "--json"]).and_then(|status| status["tiles_running"].as_u64()).unwrap_or(0)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), TestnetError> {
        let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let process =
            process.ok_or_else(|| io_error("process id")(io::Error::from(io::ErrorKind::NotFound)))?;
        kill_process(process, signal).map_err(|error| io_error("signal")(error.into()))
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) -> Result<(), TestnetError> {
        self.child.kill().map_err(io_error("kill"))?;
        self.child.wait().map(drop).map_err(io_error("wait"))
    }

    /// SIGTERM, and its exit code.
    pub fn stop(&mut self) -> Result<Option<i32>, TestnetError> {
        self.signal(Signal::TERM)?;
        let mut ended = None;
        wait_for("a node stopping", STOP_LIMIT, || {
            ended = self.child.try_wait().ok().flatten();
            ended.is_some()
        })?;
        Ok(ended.and_then(|status| status.code()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A stopped process does not die of SIGTERM; nothing outlives SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
