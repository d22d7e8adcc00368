//! Measures a line as a program meets it: datagrams that are sent back.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// Answers are waited for this long after the last datagram was sent.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// What came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Datagrams sent.
    pub sent: u32,
    /// Of these, those that came back.
    pub received: u32,
    /// Answers that came a second time.
    pub doubled: u32,
    /// Answers to datagrams that were sent before one whose answer had come already.
    pub overtaken: u32,
    /// Round trip, mean, ms.
    pub mean_ms: f64,
    /// Its 5 % and 95 % quantiles, ms.
    pub p5_ms: f64,
    /// See above.
    pub p95_ms: f64,
    /// From the first datagram that was sent to the last that came back, s.
    pub elapsed_s: f64,
}

/// Sends everything back, for ever.
pub fn echo(at: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(at)?;
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        // Whoever has gone away needs no answer.
        let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), from);
    }
}

/// Sends datagrams and waits for their answers.
pub fn probe(to: SocketAddr, count: u32, interval: Duration, bytes: usize) -> io::Result<Measured> {
    let local: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let socket = UdpSocket::bind(local)?;
    socket.connect(to)?;
    let epoch = Instant::now();
    let sender = socket.try_clone()?;
    let sending = thread::spawn(move || {
        let mut datagram = vec![0; bytes.max(16)];
        for number in 0..count {
            thread::sleep((epoch + interval * number).saturating_duration_since(Instant::now()));
            datagram[..8].copy_from_slice(&u64::from(number).to_le_bytes());
            datagram[8..16].copy_from_slice(&(epoch.elapsed().as_micros() as u64).to_le_bytes());
            // One that the interface does not take is lost like any other.
            let _ = sender.send(&datagram);
        }
    });
    let until = epoch + interval * count + LAST_WAIT;
    let mut answers = Answers::new(count);
    let mut buffer = [0; 2048];
    while answers.received < count && Instant::now() < until {
        socket.set_read_timeout(Some(
            until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)),
        ))?;
        match socket.recv(&mut buffer) {
            Ok(length) => answers.note(buffer.get(..length).unwrap_or_default(), epoch.elapsed()),
            // Nobody listens there yet, or it took too long.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => break,
        }
    }
    let _ = sending.join();
    Ok(answers.measured())
}

/// Answers as they come.
struct Answers {
    count: u32,
    seen: Vec<bool>,
    newest: u64,
    received: u32,
    doubled: u32,
    overtaken: u32,
    trips_ms: Vec<f64>,
    last: Duration,
}

impl Answers {
    fn new(count: u32) -> Self {
        Self {
            count,
            seen: vec![false; count as usize],
            newest: 0,
            received: 0,
            doubled: 0,
            overtaken: 0,
            trips_ms: Vec::new(),
            last: Duration::ZERO,
        }
    }

    fn note(&mut self, datagram: &[u8], now: Duration) {
        let word = |at: usize| {
            datagram.get(at..at + 8).and_then(|word| word.try_into().ok()).map(u64::from_le_bytes)
        };
        let (Some(number), Some(sent_us)) = (word(0), word(8)) else { return };
        let Some(seen) = self.seen.get_mut(number as usize) else { return };
        if std::mem::replace(seen, true) {
            self.doubled += 1;
            return;
        }
        self.received += 1;
        self.overtaken += u32::from(number < self.newest);
        self.newest = self.newest.max(number);
        self.trips_ms.push((now.as_micros() as f64 - sent_us as f64) / 1e3);
        self.last = now;
    }

    fn measured(mut self) -> Measured {
        self.trips_ms.sort_by(f64::total_cmp);
        let quantile = |share: f64| {
            let at = ((self.trips_ms.len() as f64 * share).ceil() as usize).saturating_sub(1);
            self.trips_ms.get(at).copied().unwrap_or_default()
        };
        Measured {
            sent: self.count,
            received: self.received,
            doubled: self.doubled,
            overtaken: self.overtaken,
            mean_ms: self.trips_ms.iter().sum::<f64>() / self.trips_ms.len().max(1) as f64,
            p5_ms: quantile(0.05),
            p95_ms: quantile(0.95),
            elapsed_s: self.last.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_timed_and_put_in_order() {
        let datagram = |number: u64, sent_us: u64| [number.to_le_bytes(), sent_us.to_le_bytes()].concat();
        let mut answers = Answers::new(4);
        for (number, sent_ms, now_ms) in [(0, 0, 10), (2, 2, 14), (1, 1, 15), (2, 2, 16), (9, 0, 17)] {
            answers.note(&datagram(number, sent_ms * 1000), Duration::from_millis(now_ms));
        }
        answers.note(b"short", Duration::from_millis(18));
        let measured = answers.measured();
        assert_eq!((measured.received, measured.doubled, measured.overtaken), (3, 1, 1));
        assert!((measured.mean_ms - 12.0).abs() < 1e-9 && (measured.p95_ms - 14.0).abs() < 1e-9);
    }

    #[test]
    fn an_echo_on_this_machine_answers_everything() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        drop(socket);
        thread::spawn(move || echo(at));
        let measured = probe(at, 50, Duration::from_millis(2), 64).unwrap();
        assert!(measured.received > 0 && measured.mean_ms < 1000.0, "{measured:?}");
    }
}
