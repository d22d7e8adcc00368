//! Uplinks: what is sent at the same time shares the bandwidth.

use p2c2r_protocol::id::TaskId;

/// Bytes that count as none.
const NOTHING: f64 = 1e-6;

/// A result on its way out of a peer.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Flow {
    task: TaskId,
    peer: usize,
    left_bytes: f64,
    /// What its peer can send by itself, bytes per ms.
    peer_bytes_per_ms: f64,
}

/// An uplink of one peer or of several.
#[derive(Debug, Clone, Default)]
pub struct Link {
    bytes_per_ms: f64,
    flows: Vec<Flow>,
    updated_ms: f64,
    /// Changes with every change of the flows: appointments made before it are void.
    pub generation: u64,
}

impl Link {
    /// An idle link.
    pub fn new(bytes_per_ms: f64) -> Self {
        Self { bytes_per_ms, ..Self::default() }
    }

    /// One that is at least as wide as this.
    pub fn widen(&mut self, bytes_per_ms: f64) {
        self.bytes_per_ms = self.bytes_per_ms.max(bytes_per_ms);
    }

    /// A fair share of the link, and no more than a fair share of what the peer itself can send.
    fn rate(&self, flow: &Flow, factor: f64) -> f64 {
        let of_peer = self.flows.iter().filter(|other| other.peer == flow.peer).count().max(1);
        let fair = self.bytes_per_ms / self.flows.len().max(1) as f64;
        fair.min(flow.peer_bytes_per_ms / of_peer as f64) * factor
    }

    fn advance(&mut self, now_ms: f64, factor: f64) {
        let elapsed_ms = (now_ms - self.updated_ms).max(0.0);
        let sent: Vec<f64> = self.flows.iter().map(|flow| self.rate(flow, factor) * elapsed_ms).collect();
        for (flow, sent) in self.flows.iter_mut().zip(sent) {
            flow.left_bytes -= sent;
        }
        self.updated_ms = now_ms;
        self.generation += 1;
    }

    /// Begins to send.
    pub fn send(
        &mut self,
        now_ms: f64,
        factor: f64,
        task: TaskId,
        peer: usize,
        bytes: f64,
        peer_bytes_per_ms: f64,
    ) {
        self.advance(now_ms, factor);
        self.flows.push(Flow { task, peer, left_bytes: bytes.max(NOTHING), peer_bytes_per_ms });
    }

    /// Sends no more of it.
    pub fn stop(&mut self, now_ms: f64, factor: f64, task: TaskId) {
        self.advance(now_ms, factor);
        self.flows.retain(|flow| flow.task != task);
    }

    /// Takes note that the factor on all rates changes now; the old one.
    pub fn refactor(&mut self, now_ms: f64, old_factor: f64) {
        self.advance(now_ms, old_factor);
    }

    /// What has been sent whole by now.
    pub fn take_sent(&mut self, now_ms: f64, factor: f64) -> Vec<TaskId> {
        self.advance(now_ms, factor);
        let rates: Vec<f64> = self.flows.iter().map(|flow| self.rate(flow, factor)).collect();
        // What would be through within a nanosecond is through: the clock may be too coarse to tell them apart.
        let done = |flow: &Flow, rate: f64| flow.left_bytes <= rate * 1e-6 + NOTHING;
        let sent = self
            .flows
            .iter()
            .zip(&rates)
            .filter(|(flow, rate)| done(flow, **rate))
            .map(|(flow, _)| flow.task);
        let sent: Vec<TaskId> = sent.collect();
        self.flows.retain(|flow| !sent.contains(&flow.task));
        sent
    }

    /// When the next one will have been sent, ms.
    pub fn next_ms(&self, factor: f64) -> Option<f64> {
        let ends = self.flows.iter().map(|flow| {
            let rate = self.rate(flow, factor);
            self.updated_ms + flow.left_bytes.max(0.0) / rate.max(1e-9)
        });
        ends.min_by(f64::total_cmp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_share_the_link() {
        let mut link = Link::new(100.0);
        link.send(0.0, 1.0, TaskId(1), 0, 1000.0, 100.0);
        assert_eq!(link.next_ms(1.0), Some(10.0));
        link.send(5.0, 1.0, TaskId(2), 1, 1000.0, 100.0);
        // 500 bytes are left of the first, at half the rate.
        assert_eq!(link.next_ms(1.0), Some(15.0));
        assert_eq!(link.take_sent(15.0, 1.0), [TaskId(1)]);
        assert_eq!(link.next_ms(1.0), Some(20.0));
        assert_eq!(link.take_sent(20.0, 1.0), [TaskId(2)]);
        assert_eq!(link.next_ms(1.0), None);
    }

    #[test]
    fn a_narrow_peer_does_not_get_more_than_it_has() {
        let mut link = Link::new(100.0);
        link.send(0.0, 1.0, TaskId(1), 0, 1000.0, 20.0);
        assert_eq!(link.next_ms(1.0), Some(50.0));
        link.stop(10.0, 1.0, TaskId(1));
        assert_eq!(link.next_ms(1.0), None);
    }

    #[test]
    fn a_collapse_takes_its_share_of_the_rate() {
        let mut link = Link::new(100.0);
        link.send(0.0, 1.0, TaskId(1), 0, 1000.0, 100.0);
        link.refactor(5.0, 1.0);
        assert_eq!(link.next_ms(0.1), Some(55.0));
    }
}
