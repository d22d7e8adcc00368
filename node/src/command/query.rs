//! `ticket`, `status`, `peers`: ask the running node.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use p2c2r_protocol::id::WorkKind;
use serde_json::json;

use crate::{
    cli::{GlobalArgs, QueryArgs},
    control::{PeerReply, Reply, Request, StatusReply, client::Client},
    data_dir,
    exit::Exit,
};

/// Asks one thing.
async fn ask(global: &GlobalArgs, request: &Request) -> anyhow::Result<Reply> {
    let root = data_dir::resolve(global.data_dir.as_deref())?;
    Ok(Client::ask(&root, request).await?.reply().await?)
}

fn unexpected<T>() -> anyhow::Result<T> {
    anyhow::bail!("the running node answered something else; restart it with this version")
}

/// Prints the ticket.
pub async fn ticket(global: &GlobalArgs, args: QueryArgs) -> anyhow::Result<Exit> {
    let Reply::Ticket { ticket } = ask(global, &Request::Ticket).await? else { return unexpected() };
    if args.json {
        println!("{}", json!({ "schema": "p2c2r.ticket/1", "ticket": ticket }));
    } else {
        println!("{ticket}");
    }
    Ok(Exit::Done)
}

/// Prints the status.
pub async fn status(global: &GlobalArgs, args: QueryArgs) -> anyhow::Result<Exit> {
    let Reply::Status(status) = ask(global, &Request::Status).await? else { return unexpected() };
    if args.json {
        println!("{}", serde_json::to_string(&status)?);
    } else {
        print!("{}", describe(&status));
    }
    Ok(Exit::Done)
}

fn describe(status: &StatusReply) -> String {
    let contributing =
        if status.contributing { "takes work from others" } else { "takes no work from others" };
    let mut text = format!(
        "node        {}\nversion     {}, up {} s\ndevice      {} ({}), {:.1} Mrays/s, class {}\nwork        {contributing}; {} tiles running, {} waiting; {} own jobs\npeers       {} connected, {} known, {} remembered\nscenes      {} in memory\n",
        status.node,
        status.version,
        status.uptime_s,
        status.adapter,
        status.backend,
        status.mrays_per_s,
        if status.exact { "exact" } else { "tolerant" },
        status.tiles_running,
        status.tiles_queued,
        status.jobs,
        status.peers_connected,
        status.peers_known,
        status.peers_remembered,
        status.scenes.len(),
    );
    text += match status.reached.as_str() {
        "public" => "reached     by the Internet, directly\n",
        "relay" => "reached     by the Internet, through a relay, and directly where the routers allow it\n",
        _ => "reached     from its own network\n",
    };
    for fetch in &status.fetching {
        let _ = writeln!(
            text,
            "            {} on its way: {:.0} % of {:.1} MB, from {} nodes",
            fetch.scene.get(..8).unwrap_or(&fetch.scene),
            fetch.bytes_here as f64 * 100.0 / fetch.size_bytes.max(1) as f64,
            fetch.size_bytes as f64 / 1e6,
            fetch.sources,
        );
    }
    let traffic = &status.scene_traffic;
    if traffic.sent_bytes + traffic.received_bytes > 0 {
        let _ = writeln!(
            text,
            "            {:.1} MB of scenes sent, {:.1} MB fetched",
            traffic.sent_bytes as f64 / 1e6,
            traffic.received_bytes as f64 / 1e6,
        );
    }
    for (index, address) in status.listening.iter().enumerate() {
        text += if index == 0 { "listening   " } else { "            " };
        text += address;
        text.push('\n');
    }
    text
}

/// Prints the peers.
pub async fn peers(global: &GlobalArgs, args: QueryArgs) -> anyhow::Result<Exit> {
    let Reply::Peers { schema, peers } = ask(global, &Request::Peers).await? else { return unexpected() };
    if args.json {
        println!("{}", json!({ "schema": schema, "peers": peers }));
    } else if peers.is_empty() {
        println!("no peers known yet; start a node on another machine, or join one with `run --join TICKET`");
    } else {
        println!("{}", table(&peers));
    }
    Ok(Exit::Done)
}

fn table(peers: &[PeerReply]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header(["node", "link", "trip ms", "heard s ago", "device", "says Mrays/s", "outcomes"]);
    for peer in peers {
        let link = if peer.connected { peer.transport.as_deref().unwrap_or("yes") } else { "-" };
        let device = match (&peer.device, peer.contributing) {
            (Some(device), Some(true)) => {
                let declined = WorkKind::ALL.map(WorkKind::name);
                let declined = declined.iter().filter(|kind| !peer.kinds.iter().any(|does| does == *kind));
                let declined: Vec<&str> = declined.copied().collect();
                if declined.is_empty() {
                    device.clone()
                } else {
                    format!("{device} (no {})", declined.join(", "))
                }
            }
            (Some(device), _) => format!("{device} (takes no work)"),
            (None, _) => "-".to_owned(),
        };
        table.add_row([
            peer.node.clone(),
            link.to_owned(),
            optional(peer.round_trip_ms, |ms| format!("{ms:.1}")),
            optional(peer.heartbeat_age_ms, |age| format!("{:.1}", age as f64 / 1e3)),
            device,
            optional(peer.announced_mrays_per_s, |speed| format!("{speed:.1}")),
            peer.outcomes.to_string(),
        ]);
    }
    for index in [2, 3, 5, 6] {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn optional<T>(value: Option<T>, print: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), print)
}
