//! The pairs against a simulated machine: how often equal revisions are refused, and slower ones
//! found. All seeds are fixed: these are facts about the rule, not about a machine.

use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Normal};

use super::args::Pairs;
use super::decide::Plan;
use super::pairs::{Binaries, Comparison, Measure, Metric, Sample, run};
use super::verdict::Verdict;
use crate::failure::{Failure, Result};
use crate::workload::Workload;

/// A machine whose speed drifts and jumps, and a head that costs `slowdown` times the base.
struct Simulated {
    random: StdRng,
    noise: f64,
    slowdown: f64,
    /// Of the machine: a walk that both sides share.
    drift: f64,
    /// One run in so many is three times as slow, whoever it hits.
    spikes: u32,
    calls: Vec<bool>,
}

impl Simulated {
    fn new(seed: u64, noise: f64, slowdown: f64) -> Simulated {
        let random = StdRng::seed_from_u64(seed);
        Simulated { random, noise, slowdown, drift: 0.0, spikes: 25, calls: Vec::new() }
    }

    fn scatter(&mut self, deviation: f64) -> f64 {
        Normal::new(0.0, deviation).unwrap().sample(&mut self.random)
    }
}

impl Measure for Simulated {
    fn measure(&mut self, binary: &Path, _workload: &Workload) -> Result<Sample> {
        let is_head = binary.ends_with("head");
        self.calls.push(is_head);
        self.drift += self.scatter(self.noise);
        let spike = if self.random.random_range(0..self.spikes) == 0 { 3.0 } else { 1.0 };
        let slowdown = if is_head { self.slowdown } else { 1.0 };
        let mut cost =
            |base: f64| base * slowdown * spike * (self.drift + self.scatter(self.noise)).exp();
        Ok(Sample {
            cpu_us_per_request: cost(10.0),
            requests_per_s: 1e6 / cost(20.0),
            p99_us: 90.0,
        })
    }
}

fn binaries() -> Binaries {
    Binaries { base: PathBuf::from("base"), head: PathBuf::from("head") }
}

fn workloads(count: usize) -> Vec<Workload> {
    (0..count).map(|n| Workload { name: format!("w{n}"), ..Workload::default() }).collect()
}

fn plan() -> Plan {
    Plan::new(3, Pairs { min: 12, max: 36 }, 1.05).unwrap()
}

fn gate(measure: &mut dyn Measure) -> Vec<Comparison> {
    run(&plan(), &workloads(3), &binaries(), measure, &mut |_| ()).unwrap()
}

/// How many of `gates` have at least one comparison with this verdict.
fn gates_with(verdict: Verdict, gates: u64, noise: f64, slowdown: f64) -> usize {
    let has = |seed| {
        let comparisons = gate(&mut Simulated::new(seed, noise, slowdown));
        comparisons.iter().any(|comparison| comparison.verdict == Some(verdict))
    };
    (0..gates).filter(|seed| has(*seed)).count()
}

#[test]
fn equal_revisions_are_never_refused() {
    // 1,000 gates of 6 comparisons each, on a quiet machine, a shared one and a bad one.
    for (noise, gates) in [(0.01, 300), (0.03, 400), (0.10, 300)] {
        assert_eq!(gates_with(Verdict::Fail, gates, noise, 1.0), 0, "noise {noise}");
    }
}

#[test]
fn at_the_limit_few_gates_are_decided_either_way() {
    // Here every answer would be a matter of luck; each kind may come in 2.5 % of the gates.
    let gates = 200;
    for verdict in [Verdict::Pass, Verdict::Fail] {
        let wrong = gates_with(verdict, gates, 0.03, 1.05);
        assert!(wrong <= 12, "{wrong} of {gates} are {verdict:?}");
    }
}

#[test]
fn ten_percent_slower_is_refused() {
    for (noise, wanted) in [(0.01, 100), (0.03, 95)] {
        let found = gates_with(Verdict::Fail, 100, noise, 1.10);
        assert!(found >= wanted, "{found} of 100 at noise {noise}");
    }
}

#[test]
fn equal_revisions_are_soon_decided_where_it_is_quiet() {
    let comparisons = gate(&mut Simulated::new(5, 0.005, 1.0));
    assert!(comparisons.iter().all(|comparison| comparison.pairs == 12), "{comparisons:?}");
    let decided = comparisons.iter().filter_map(|comparison| comparison.verdict);
    assert_eq!(decided.collect::<Vec<_>>(), [Verdict::Pass; 6]);
}

#[test]
fn too_much_noise_is_undecided_after_the_last_pair() {
    let comparisons = gate(&mut Simulated::new(5, 1.0, 1.0));
    let open: Vec<_> =
        comparisons.iter().filter(|c| c.verdict == Some(Verdict::Undecided)).collect();
    assert!(!open.is_empty());
    assert!(open.iter().all(|comparison| comparison.pairs == 36));
}

#[test]
fn the_order_of_a_pair_alternates() {
    let mut machine = Simulated::new(1, 0.5, 1.0);
    run(&plan(), &workloads(1), &binaries(), &mut machine, &mut |_| ()).unwrap();
    let firsts: Vec<bool> = machine.calls.chunks(2).map(|pair| pair[0]).collect();
    assert!(machine.calls.chunks(2).all(|pair| pair[0] != pair[1]), "one of each");
    assert!(firsts.chunks_exact(2).all(|two| two[0] != two[1]), "blocks: {firsts:?}");
    let blocks: Vec<bool> = firsts.chunks(2).map(|two| two[0]).collect();
    assert!(blocks.contains(&true) && blocks.contains(&false), "drawn: {blocks:?}");
}

#[test]
fn every_workload_and_metric_is_listed_once_and_p99_never_decides() {
    let comparisons = gate(&mut Simulated::new(1, 0.01, 2.0));
    assert_eq!(comparisons.len(), 9);
    for (n, three) in comparisons.chunks(3).enumerate() {
        let metrics: Vec<_> = three.iter().map(|comparison| comparison.metric).collect();
        assert_eq!(metrics, [Metric::Cpu, Metric::Time, Metric::P99]);
        assert!(three.iter().all(|comparison| comparison.workload == format!("w{n}")));
        assert_eq!(three[2].verdict, None);
    }
}

/// A server that gives one odd figure.
struct Odd(Sample);

impl Measure for Odd {
    fn measure(&mut self, _binary: &Path, _workload: &Workload) -> Result<Sample> {
        Ok(self.0)
    }
}

/// A server that does not start.
struct Broken;

impl Measure for Broken {
    fn measure(&mut self, binary: &Path, _workload: &Workload) -> Result<Sample> {
        let problem = "it does not start".to_owned();
        Err(Failure::Target { target: binary.display().to_string(), problem })
    }
}

#[test]
fn what_cannot_be_compared_is_an_error_and_no_verdict() {
    let good = Sample { cpu_us_per_request: 1.0, requests_per_s: 1.0, p99_us: 0.0 };
    let all =
        |measure: &mut dyn Measure| run(&plan(), &workloads(1), &binaries(), measure, &mut |_| ());
    assert!(all(&mut Odd(good)).is_ok(), "p99 is for information");
    for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let cpu = Sample { cpu_us_per_request: value, ..good };
        let rate = Sample { requests_per_s: value, ..good };
        for (sample, name) in [(cpu, "CPU"), (rate, "throughput")] {
            let error = all(&mut Odd(sample)).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
    assert!(all(&mut Broken).unwrap_err().to_string().contains("does not start"));
}
