//! Reports made up for tests, as real ones look: noise, stalls, errors, several operations. The
//! same sample is the same report.

use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};

use super::model::*;
use crate::quantity::Span;
use crate::workload::{Operation, Workload};

/// What a made-up run is like.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Of all that is drawn.
    pub seed: u64,
    /// Slices of a second.
    pub slices: usize,
    /// Answers in a slice.
    pub requests: u64,
    /// Median latency of the resolves.
    pub median_us: f64,
    /// One slice in which the server stands still for half a second.
    pub stall: bool,
    /// Wrong answers, refusals and hostile texts.
    pub errors: bool,
    /// A search for the highest rate.
    pub search: bool,
    /// TLS, with a connection for each request.
    pub connections: bool,
    /// Three servers, one of which was silent for a while.
    pub nodes: bool,
    /// Microseconds of the server's CPU for each request.
    pub cpu_us: f64,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            seed: 1,
            slices: 60,
            requests: 2_000,
            median_us: 180.0,
            stall: false,
            errors: false,
            search: false,
            connections: false,
            nodes: false,
            cpu_us: 9.0,
        }
    }
}

/// A text as a hostile server would send it.
pub const HOSTILE: &str = r#"</td><script>alert("1")</script><img src=x onerror='alert(2)'>{{x}}"#;

impl Sample {
    /// The report.
    pub fn report(&self) -> Report {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mix = [
            (Operation::Issue, 0.2, 2.6),
            (Operation::Resolve, 0.7, 1.0),
            (Operation::Consume, 0.1, 2.2),
        ];
        let mut by_operation = mix.map(|_| fresh());
        let mut slices = Vec::new();
        let mut all = fresh();
        for at in 0..self.slices {
            let slice = self.slice(at, &mix, &mut by_operation, &mut random);
            all.add(slice.to_histogram().unwrap().unwrap()).unwrap();
            slices.push(slice);
        }
        let mut whole = fresh();
        by_operation.iter().for_each(|histogram| whole.add(histogram).unwrap());
        let operations = mix.iter().zip(&by_operation).map(|((operation, ..), histogram)| {
            OperationReport { operation: *operation, latency: Latency::from_histogram(histogram) }
        });
        let latency = Latency::from_histogram(&whole);
        let objective = |objective: &str, measured_us: f64, limit_us: f64| ObjectiveReport {
            objective: objective.to_owned(),
            measured_us,
            kept: if measured_us <= limit_us { Kept::Yes } else { Kept::No },
        };
        Report {
            format: FORMAT,
            harness: Harness { version: "0.1.0".to_owned(), commit: Some("3e9e84b+".to_owned()) },
            started_at: "2026-11-22T21:00:00Z".to_owned(),
            command: ["loadtest", "run", "checkout", "--out", "it's here"]
                .map(str::to_owned)
                .into(),
            machine: machine(),
            target: target(),
            workload: workload(),
            ended: None,
            totals: self.totals(latency.count),
            objectives: vec![
                objective("p99=20ms", latency.p99_us, 20_000.0),
                objective("max=250ms", latency.max_us, 250_000.0),
            ],
            operations: operations.collect(),
            latency,
            errors: if self.errors { errors() } else { Vec::new() },
            slices,
            server: Some(self.usage(self.cpu_us, 182 << 20)),
            server_unknown: None,
            client: self.usage(3.4, 12 << 20),
            generator: Generator::default(),
            others_cpu_s: Some(0.5),
            tls: self.connections.then(tls),
            connections: if self.connections { connections() } else { Vec::new() },
            nodes: self.nodes.then(nodes),
            parts: Vec::new(),
            search: self.search.then(search),
        }
    }

    fn slice(
        &self,
        at: usize,
        mix: &[(Operation, f64, f64); 3],
        by_operation: &mut [Histogram<u64>; 3],
        random: &mut StdRng,
    ) -> Slice {
        let drift = 1.0 + 0.05 * random.random::<f64>();
        let mut histogram = fresh();
        let stalled = self.stall && at == self.slices / 2;
        for ((_, share, slower), of_operation) in mix.iter().zip(by_operation) {
            let spread = LogNormal::new((self.median_us * slower * drift).ln(), 0.5).unwrap();
            for _ in 0..(self.requests as f64 * share) as u64 {
                let mut us: f64 = spread.sample(random);
                if stalled && random.random::<f64>() < 0.5 {
                    us = 500_000.0 * random.random::<f64>();
                }
                let ns = (us * 1e3) as u64;
                histogram.record(ns).unwrap();
                of_operation.record(ns).unwrap();
            }
        }
        let errors = if self.errors && at % 17 == 5 { 3 } else { 0 };
        let mut slice = Slice::from_histogram(at as f64, 1.0, errors, &histogram);
        // Real clocks do not end a slice on the second.
        slice.length_s = 1.0 + 0.02 * random.random::<f64>();
        slice.server_cpu_s = Some(slice.requests as f64 * self.cpu_us * drift / 1e6);
        slice
    }

    fn totals(&self, requests: u64) -> Totals {
        let elapsed_s = self.slices as f64;
        Totals {
            reconnects: 0,
            stopped_early: false,
            queue_grew: false,
            elapsed_s,
            requests,
            tokens: requests,
            requests_per_s: requests as f64 / elapsed_s,
            tokens_per_s: requests as f64 / elapsed_s,
            rate: Some(self.requests as f64),
            due_per_s: Some(requests as f64 / elapsed_s),
            substituted: 12,
            bytes_sent: requests * 110,
            bytes_received: requests * 240,
            load_s: 1.3,
        }
    }

    fn usage(&self, cpu_us: f64, memory_bytes: u64) -> Usage {
        // Whole milliseconds: a number of many digits may change its last one in JSON.
        let cpu_s = (cpu_us * self.requests as f64 * self.slices as f64 / 1e4).round() / 100.0;
        Usage {
            user_s: cpu_s,
            system_s: cpu_s,
            cpu_us_per_request: cpu_us,
            cpu_us_per_token: cpu_us,
            memory_bytes,
            memory_peak_bytes: memory_bytes + memory_bytes / 9,
        }
    }
}

fn fresh() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

fn machine() -> Machine {
    Machine {
        cpu: "Sample CPU @ 2.60GHz".to_owned(),
        cores: 2,
        memory_bytes: 8 << 30,
        system: "Linux 6.12".to_owned(),
    }
}

fn target() -> Target {
    Target {
        kind: "jeton".to_owned(),
        address: "127.0.0.1:7450".to_owned(),
        version: Some("0.1.0".to_owned()),
        command: Some(["jeton", "serve", "--listen", "127.0.0.1:0"].map(str::to_owned).into()),
        config: None,
        nodes: Vec::new(),
    }
}

fn workload() -> Workload {
    let mut workload = Workload { name: "checkout".to_owned(), ..Workload::default() };
    workload.description = "An order is issued, looked at and paid.".to_owned();
    workload.time.duration = Span(std::time::Duration::from_secs(60));
    workload.load.rate = Some(2_000.0);
    (workload.mix.issue, workload.mix.resolve, workload.mix.consume) = (2.0, 7.0, 1.0);
    workload.objectives = vec!["p99=20ms".parse().unwrap(), "max=250ms".parse().unwrap()];
    workload
}

fn errors() -> Vec<ErrorReport> {
    let error = |kind: &str, count, wrong, example: &str| ErrorReport {
        kind: kind.to_owned(),
        count,
        while_issuing: 0,
        wrong,
        example: example.to_owned(),
    };
    vec![
        error("wrong payload", 3, true, "asked for order 17, got {\"order\":18}"),
        error("status 503", 9, false, HOSTILE),
    ]
}

fn tls() -> Tls {
    let agreed = Negotiated {
        version: "1.3".to_owned(),
        cipher: "AES_256_GCM_SHA384".to_owned(),
        key_exchange: Some("X25519MLKEM768".to_owned()),
        alpn: Some("http/1.1".to_owned()),
        connections: 1_234_567,
    };
    Tls {
        negotiated: vec![agreed],
        full: 617_283,
        resumed: 617_284,
        plain_bytes_sent: 123 << 20,
        plain_bytes_received: 234 << 20,
    }
}

fn nodes() -> Nodes {
    let node = |port: u16, silence_s| NodeReport {
        address: format!("127.0.0.1:{port}"),
        answers: 40_000 + u64::from(port),
        errors: u64::from(port % 10),
        reconnects: 21,
        silence_s,
    };
    Nodes { silence_s: 0.003, nodes: vec![node(7450, 0.021), node(7460, 4.8), node(7470, 0.02)] }
}

/// One kind that the server makes slow, and one that the harness does.
fn connections() -> Vec<Connections> {
    let times = |us: f64| {
        let mut histogram = fresh();
        for at in 0..1_000_u32 {
            histogram.record((us * 1e3 * (1.0 + f64::from(at) / 200.0)) as u64).unwrap();
        }
        Latency::from_histogram(&histogram)
    };
    let one = |made, handshake_us: f64, own_us: f64| Connections {
        made,
        count: 617_283,
        resumed: if made == Made::Resumed { 500_000 } else { 0 },
        time_s: 30.0,
        per_s: 20_576.1,
        server_cpu_us: Some(293.4),
        handshake: times(handshake_us),
        latency: times(handshake_us * 1.2),
        own_handshake: times(own_us),
        own: times(own_us * 1.2),
    };
    vec![one(Made::Full, 12_345.0, 0.1), one(Made::Resumed, 1_234.0, 700.0)]
}

fn search() -> Search {
    let rates = [1_000.0, 2_000.0, 4_000.0, 3_000.0, 2_500.0, 2_250.0];
    let steps = rates.iter().map(|rate| {
        let worst = (rate / 2_300.0_f64).powi(4);
        let kept = if worst <= 1.0 { Kept::Yes } else { Kept::No };
        Step {
            rate: *rate,
            achieved: rate.min(2_600.0),
            worst,
            length_s: 5.0,
            others_cpu_s: Some(0.1),
            kept,
        }
    });
    Search { rate: Some(2_250.0), doubt: None, steps: steps.collect() }
}
