//! How a line is described: by flags at the start, and by words while it is there.

use clap::Args;

use crate::line::LineSpec;

/// A line, for each direction.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct LineArgs {
    /// From one end to the other, ms
    #[arg(long, default_value_t = 0.0)]
    pub delay: f64,
    /// The delay varies by up to so much, ms; frames keep their order
    #[arg(long, default_value_t = 0.0)]
    pub jitter: f64,
    /// Frames that are lost, %
    #[arg(long, default_value_t = 0.0)]
    pub loss: f64,
    /// Frames that come twice, %
    #[arg(long, default_value_t = 0.0)]
    pub duplicate: f64,
    /// Frames that overtake the others, %
    #[arg(long, default_value_t = 0.0)]
    pub reorder: f64,
    /// What goes through, Mbit/s; everything if not said
    #[arg(long)]
    pub rate: Option<f64>,
    /// Longest wait for a turn when the rate is too small, ms
    #[arg(long, default_value_t = 200.0)]
    pub queue: f64,
}

impl LineArgs {
    /// The line, if there can be one like that.
    pub fn spec(&self) -> anyhow::Result<LineSpec> {
        let time = |name: &str, ms: f64| {
            anyhow::ensure!((0.0..=60_000.0).contains(&ms), "{name} {ms} is not between 0 and 60000 ms");
            Ok(ms)
        };
        let share = |name: &str, percent: f64| {
            anyhow::ensure!((0.0..=100.0).contains(&percent), "{name} {percent} is not between 0 and 100 %");
            Ok(percent / 100.0)
        };
        if let Some(rate) = self.rate {
            anyhow::ensure!(
                (0.001..=1e6).contains(&rate),
                "rate {rate} is not between 0.001 and 1000000 Mbit/s"
            );
        }
        Ok(LineSpec {
            delay_ms: time("delay", self.delay)?,
            jitter_ms: time("jitter", self.jitter)?,
            loss_share: share("loss", self.loss)?,
            duplicate_share: share("duplicate", self.duplicate)?,
            reorder_share: share("reorder", self.reorder)?,
            rate_mbit: self.rate,
            queue_ms: time("queue", self.queue)?,
            is_cut: false,
        })
    }
}

/// What a line is told while it is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// To be like this from now on; what is not said is as on a good line.
    Set(LineSpec),
    /// To say what became of its frames.
    Counts,
}

/// Reads an order: `cut`, `counts`, or a description such as `delay 50 jitter 20 loss 1`.
pub fn parse(text: &str) -> anyhow::Result<Order> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["counts"] => return Ok(Order::Counts),
        ["cut"] => return Ok(Order::Set(LineSpec { is_cut: true, ..LineSpec::default() })),
        _ => {}
    }
    let mut line = LineArgs { queue: 200.0, ..LineArgs::default() };
    for pair in words.chunks(2) {
        let [name, value] = pair else { anyhow::bail!("`{text}`: a value is missing at the end") };
        let value: f64 = value.parse().map_err(|_| anyhow::anyhow!("`{text}`: `{value}` is no number"))?;
        match *name {
            "delay" => line.delay = value,
            "jitter" => line.jitter = value,
            "loss" => line.loss = value,
            "duplicate" => line.duplicate = value,
            "reorder" => line.reorder = value,
            "rate" => line.rate = Some(value),
            "queue" => line.queue = value,
            _ => anyhow::bail!(
                "`{text}`: `{name}` is none of delay, jitter, loss, duplicate, reorder, rate, queue, cut, counts"
            ),
        }
    }
    Ok(Order::Set(line.spec()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_bad_ones_say_what_is_wrong() {
        let Order::Set(spec) = parse("delay 50 jitter 20 loss 1 rate 10").unwrap() else { panic!() };
        let expected = LineSpec {
            delay_ms: 50.0,
            jitter_ms: 20.0,
            loss_share: 0.01,
            rate_mbit: Some(10.0),
            ..LineSpec::default()
        };
        assert_eq!(spec, expected);
        assert_eq!(parse("").unwrap(), Order::Set(LineSpec::default()), "mended");
        assert_eq!(parse("counts").unwrap(), Order::Counts);
        assert!(matches!(parse("cut").unwrap(), Order::Set(LineSpec { is_cut: true, .. })));
        for (bad, says) in [
            ("delay", "missing"),
            ("delay x", "no number"),
            ("loss 101", "100 %"),
            ("lag 3", "lag"),
            ("rate 0", "rate"),
            ("delay NaN", "delay"),
        ] {
            assert!(parse(bad).unwrap_err().to_string().contains(says), "{bad}");
        }
    }
}
