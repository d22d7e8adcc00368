//! What the swarm's own protocol costs beside a bare stream on the same connection.

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use p2c2r_swarm::measure::{BulkRates, Pair};
use serde::Serialize;

use crate::{
    cli::{BenchNetworkArgs, GlobalArgs},
    exit::Exit,
};

/// Edge of a result: 512 x 512 x 12 bytes, 3 MiB.
const SIDE_PX: u32 = 512;
/// Transports, and where to listen for them.
const TRANSPORTS: [(&str, &str); 2] =
    [("tcp", "/ip4/127.0.0.1/tcp/0"), ("quic", "/ip4/127.0.0.1/udp/0/quic-v1")];

/// The figures of one transport, medians over the repeats.
#[derive(Debug, Serialize)]
struct Figures {
    transport: &'static str,
    bare_mb_s: f64,
    session_mb_s: f64,
    /// Session to bare stream, of measurements that followed each other.
    ratio: f64,
    round_trip_ms: f64,
}

/// Runs the bench.
pub async fn run(_global: &GlobalArgs, args: BenchNetworkArgs) -> anyhow::Result<Exit> {
    let mut all = Vec::new();
    for (transport, listen) in TRANSPORTS {
        let mut pair = Pair::start(listen, SIDE_PX).await?;
        // The first round opens windows and buffers.
        pair.rates(args.results.min(20)).await?;
        let mut rounds = Vec::new();
        for _ in 0..args.repeats {
            rounds.push(pair.rates(args.results).await?);
        }
        pair.stop().await;
        all.push(Figures {
            transport,
            bare_mb_s: median(&rounds, |rates| rates.bare_mb_s),
            session_mb_s: median(&rounds, |rates| rates.session_mb_s),
            ratio: median(&rounds, |rates| rates.session_mb_s / rates.bare_mb_s),
            round_trip_ms: median(&rounds, |rates| rates.round_trip_ms),
        });
    }
    if args.json {
        println!("{}", serde_json::json!({ "schema": "p2c2r/bench-network/1", "transports": all }));
    } else {
        println!("{}", table(&all));
    }
    Ok(Exit::Done)
}

fn table(all: &[Figures]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header(["transport", "bare stream MB/s", "session MB/s", "ratio", "round trip ms"]);
    for figures in all {
        table.add_row([
            figures.transport.to_owned(),
            format!("{:.0}", figures.bare_mb_s),
            format!("{:.0}", figures.session_mb_s),
            format!("{:.2}", figures.ratio),
            format!("{:.3}", figures.round_trip_ms),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn median(rounds: &[BulkRates], figure: impl Fn(&BulkRates) -> f64) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
