//! A line between two network namespaces, measured from inside. Needs root, `ip` and /dev/net/tun; skips loudly without.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const LINKEMU: &str = env!("CARGO_BIN_EXE_linkemu");

/// Two namespaces, 10.213.0.1 and 10.213.0.2, with a line between them; all gone when it is dropped.
struct Lab {
    names: [String; 2],
    lines: Child,
    orders: ChildStdin,
    said: BufReader<ChildStdout>,
    echo: Child,
}

/// Why there can be no lab here.
fn missing() -> Option<&'static str> {
    // Containers have root and the command, and may still not be allowed to.
    let can = |make: &str, undo: &str| {
        let run = |arguments: &str| {
            let output = Command::new("ip").args(arguments.split(' ')).output();
            output.is_ok_and(|output| output.status.success())
        };
        run(make) && run(undo)
    };
    let name = format!("le{}t", std::process::id() % 100_000);
    match () {
        () if !rustix::process::geteuid().is_root() => Some("root"),
        () if !can("link show", "link show") => Some("the command `ip`"),
        () if !can(&format!("netns add {name}"), &format!("netns del {name}")) => Some("network namespaces"),
        () if !can(
            &format!("tuntap add dev {name} mode tap"),
            &format!("tuntap del dev {name} mode tap"),
        ) =>
        {
            Some("/dev/net/tun")
        }
        () => None,
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Lab {
    fn new(tag: &str) -> Self {
        let name = |end: &str| format!("le{}{tag}{end}", std::process::id() % 100_000);
        let names = [name("a"), name("b")];
        let mut lines = Command::new(LINKEMU)
            .args(["lay", &names[0], &names[1]])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut said, mut ready) = (BufReader::new(lines.stdout.take().unwrap()), String::new());
        said.read_line(&mut ready).unwrap();
        assert_eq!(ready.trim(), "ready");
        for (index, name) in names.iter().enumerate() {
            ip(&format!("netns add {name}"));
            ip(&format!("link set {name} netns {name}"));
            ip(&format!("-n {name} addr add 10.213.0.{}/24 dev {name}", index + 1));
            ip(&format!("-n {name} link set {name} up"));
        }
        let echo = Command::new("ip")
            .args(["netns", "exec", &names[1], LINKEMU, "echo", "10.213.0.2:7007"])
            .spawn()
            .unwrap();
        let orders = lines.stdin.take().unwrap();
        let mut lab = Self { names, lines, orders, said, echo };
        // The first frames ask for addresses, and the echo may not be up.
        let answers = (0..30).any(|_| lab.probe("--count 20 --interval-ms 5").received == 20);
        assert!(answers, "nothing comes back over a line that nothing is wrong with");
        lab
    }

    fn order(&mut self, text: &str) {
        // Orders are taken one after the other: whoever has the answer to the second knows that the first was taken.
        writeln!(self.orders, "{text}\ncounts").unwrap();
        self.orders.flush().unwrap();
        let mut counts = String::new();
        self.said.read_line(&mut counts).unwrap();
        assert!(counts.contains("entered"), "{counts}");
    }

    fn probe(&mut self, arguments: &str) -> Measured {
        let output = Command::new("ip")
            .args(["netns", "exec", &self.names[0], LINKEMU, "probe", "10.213.0.2:7007"])
            .args(arguments.split(' '))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let number = |name: &str| json[name].as_f64().unwrap();
        Measured {
            received: number("received") as u32,
            overtaken: number("overtaken") as u32,
            doubled: number("doubled") as u32,
            p5_ms: number("p5_ms"),
            mean_ms: number("mean_ms"),
            elapsed_s: number("elapsed_s"),
        }
    }
}

#[derive(Debug)]
struct Measured {
    received: u32,
    overtaken: u32,
    doubled: u32,
    p5_ms: f64,
    mean_ms: f64,
    elapsed_s: f64,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in [&mut self.echo, &mut self.lines] {
            let _ = child.kill();
            let _ = child.wait();
        }
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

#[test]
fn lines_do_what_they_say() {
    if let Some(missing) = missing() {
        eprintln!("SKIPPED: lines between namespaces need {missing}");
        return;
    }
    let mut lab = Lab::new("x");
    let good = lab.probe("--count 500 --interval-ms 1");
    assert_eq!((good.received, good.overtaken, good.doubled), (500, 0, 0), "{good:?}");

    lab.order("delay 40 jitter 10");
    let late = lab.probe("--count 200 --interval-ms 5");
    assert_eq!((late.received, late.overtaken), (200, 0), "jitter keeps the order: {late:?}");
    assert!(late.p5_ms >= 60.0 && late.mean_ms >= 75.0, "twice 40, give or take twice 10: {late:?}");

    lab.order("loss 10");
    let lossy = lab.probe("--count 2000 --interval-ms 1");
    assert!((1500..1740).contains(&lossy.received), "81 % of 2000 come back: {lossy:?}");

    lab.order("delay 20 reorder 10 duplicate 5");
    let wild = lab.probe("--count 500 --interval-ms 1");
    assert!(wild.overtaken > 20 && wild.doubled > 20, "{wild:?}");

    // 1042 bytes on the wire, 400 of them: 3.3 Mbit, each way; what waits longer than 200 ms is dropped.
    lab.order("rate 1");
    let slow = lab.probe("--count 400 --interval-ms 2 --bytes 1000");
    let mbit = f64::from(slow.received) * 1042.0 * 8.0 / 1e6 / slow.elapsed_s;
    assert!(slow.received < 400 && mbit < 1.1, "{mbit}: {slow:?}");

    lab.order("cut");
    assert_eq!(lab.probe("--count 20 --interval-ms 1").received, 0);
    lab.order("");
    assert_eq!(lab.probe("--count 20 --interval-ms 5").received, 20, "it is mended");
}
