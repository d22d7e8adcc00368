//! Nodes to try something on: real processes on this machine, joined to this one, and gone with it.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use p2c2r_protocol::{id::NodeId, tile::SceneTime};
use p2c2r_render::{backend::BackendChoice, limit::MAX_PREPARED_BYTES};

use crate::{
    config::{DeviceConfig, NodeConfig, Throttle},
    contributor::hindrance::Hindrance,
    control::{Reply, Request, client::Client},
    data_dir::DataDir,
    node::Node,
    scene_library::{Package, ResidentScene},
};

/// Nodes must have joined by then.
const JOIN_LIMIT: Duration = Duration::from_mins(1);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A machine that a node stands for.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// Its name.
    pub name: &'static str,
    /// So many times as long as a core of this machine it takes.
    pub throttle: f32,
    /// What else is wrong with it.
    pub hindrance: Hindrance,
}

impl Machine {
    /// With which nothing else is wrong.
    pub const fn of(name: &'static str, throttle: f32) -> Self {
        Self { name, throttle, hindrance: Hindrance { delay_ms: 0, fail_share: 0.0, silent_share: 0.0 } }
    }
}

/// One node.
pub struct Member {
    /// Its name here.
    pub name: &'static str,
    /// Who it is.
    pub id: NodeId,
    data_dir: PathBuf,
    child: Child,
}

impl Drop for Member {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This process as coordinator, and its contributors.
pub struct Fleet {
    /// The coordinator.
    pub node: Arc<Node>,
    /// The contributors.
    pub members: Vec<Member>,
    folder: PathBuf,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.members.clear();
        // What lies there is of no use to anybody.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Fleet {
    /// Starts a node for each machine, and waits until all are known. This process's own device takes a core.
    pub async fn start(machines: &[Machine]) -> anyhow::Result<Self> {
        Self::start_with_owner(1.0, machines).await
    }

    /// As [`Fleet::start`]; the own device takes so many times as long as a core.
    pub async fn start_with_owner(own_throttle: f32, machines: &[Machine]) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("p2c2r-fleet-{}", std::process::id()));
        let data = DataDir::open(&folder.join("coordinator"))?;
        let device = DeviceConfig {
            backend: BackendChoice::Cpu,
            threads: Some(1),
            scene_memory_bytes: MAX_PREPARED_BYTES,
            throttle: Throttle { factor: own_throttle, hidden: false },
        };
        let config = NodeConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".into()], ..NodeConfig::alone(device) };
        let node = Arc::new(Node::start(&config, data).await?);
        let mut fleet = Self { node, members: Vec::new(), folder };
        let ticket = fleet.node.swarm.as_ref().context("this node has no swarm")?.ticket().await?.to_string();
        for machine in machines {
            let data_dir = fleet.folder.join(machine.name);
            let child = spawn(&data_dir, &ticket, machine.throttle)?;
            let id = NodeId::from_public_key([0; 32]);
            fleet.members.push(Member { name: machine.name, id, data_dir, child });
        }
        for (index, machine) in machines.iter().enumerate() {
            fleet.meet(index).await?;
            fleet.hinder(index, machine.hindrance).await?;
        }
        fleet.wait_for_all().await?;
        Ok(fleet)
    }

    /// Waits until a node answers, and learns who it is.
    async fn meet(&mut self, index: usize) -> anyhow::Result<()> {
        let since = Instant::now();
        loop {
            let member = self.members.get_mut(index).context("no such node")?;
            if let Ok(Some(mut client)) = Client::ask_if_running(&member.data_dir, &Request::Status).await
                && let Ok(Reply::Status(status)) = client.reply().await
            {
                member.id = status.node.parse()?;
                return Ok(());
            }
            anyhow::ensure!(
                since.elapsed() < JOIN_LIMIT,
                "{} did not start within {JOIN_LIMIT:?}",
                member.name
            );
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn wait_for_all(&self) -> anyhow::Result<()> {
        let swarm = self.node.swarm.as_ref().context("this node has no swarm")?;
        let since = Instant::now();
        loop {
            let heard = swarm.peers().await.iter().filter(|peer| peer.heartbeat.is_some()).count();
            if heard >= self.members.len() {
                return Ok(());
            }
            anyhow::ensure!(since.elapsed() < JOIN_LIMIT, "the nodes did not join within {JOIN_LIMIT:?}");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Lets something be wrong with a node from now on.
    pub async fn hinder(&self, index: usize, hindrance: Hindrance) -> anyhow::Result<()> {
        let member = self.members.get(index).context("no such node")?;
        let mut client = Client::ask(&member.data_dir, &Request::Hinder(hindrance)).await?;
        client.reply().await?;
        Ok(())
    }

    /// Ends a node at once, as a crash would.
    pub fn kill(&mut self, node: &NodeId) {
        self.members.retain(|member| member.id != *node);
    }

    /// Lets something be wrong with that node from now on.
    pub async fn hinder_node(&self, node: &NodeId, hindrance: Hindrance) -> anyhow::Result<()> {
        let index = self.members.iter().position(|member| member.id == *node).context("no such node")?;
        self.hinder(index, hindrance).await
    }

    /// For files; gone with the fleet.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name of a node.
    pub fn name_of(&self, node: &str) -> &'static str {
        self.members
            .iter()
            .find(|member| member.id.to_string() == node)
            .map_or("this node", |member| member.name)
    }

    /// Makes a package ready here.
    pub async fn scene(&self, package: Vec<u8>) -> anyhow::Result<ResidentScene> {
        let library = Arc::clone(&self.node.library);
        let prepare = move || library.prepare(&Package::of(package.into()), SceneTime::START);
        Ok(tokio::task::spawn_blocking(prepare).await??)
    }

    /// Ends all of it in peace.
    pub async fn stop(mut self) {
        self.members.clear();
        self.node.stop().await;
    }
}

fn spawn(data_dir: &Path, ticket: &str, throttle: f32) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("the program does not know where it lies")?;
    Command::new(program)
        .args(["run", "--quiet", "--no-mdns", "--backend", "cpu", "--threads", "1"])
        .args(["--listen", "/ip4/127.0.0.1/tcp/0", "--throttle", &throttle.to_string()])
        .args(["--join", ticket, "--data-dir"])
        .arg(data_dir)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("a node could not be started")
}
