//! Runs of an attack, each decided by one seed, on all cores; and the counts of what happened in them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::volume;

/// Makes a struct `Counts` of these counts.
macro_rules! counts {
    ($($name:ident),* $(,)?) => {
        /// Each a number of times.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Counts {
            $(pub $name: u64,)*
        }

        impl Counts {
            pub fn add(&mut self, other: &Counts) {
                $(self.$name += other.$name;)*
            }

            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

pub(crate) use counts;

/// The result of a run; a panic is a failure like any other.
pub fn caught<D>(run: impl FnOnce() -> Result<D, String>) -> Result<D, String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// What became of the seeds of an attack.
pub struct Runs<C> {
    /// The counts of the runs that passed.
    pub counts: C,
    /// The seeds that failed, in ascending order, and why.
    pub broken: Vec<(u64, String)>,
    /// The number of seeds.
    pub tried: u64,
}

/// Runs the seeds of the attack `name`, on all cores. `add` adds the result of a run to the counts.
pub fn run_all<C: Default + Send, D>(
    name: &str,
    default: u64,
    run: impl Fn(u64) -> Result<D, String> + Sync,
    add: impl Fn(&mut C, &D) + Sync,
) -> Runs<C> {
    let seeds = volume::seeds(name, default);
    let next = AtomicU64::new(seeds.start);
    let all = Mutex::new((C::default(), Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let done = caught(|| run(seed));
            let mut all = all.lock().expect("nobody panics with it");
            match done {
                Ok(done) => add(&mut all.0, &done),
                Err(broken) => all.1.push((seed, broken)),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (counts, mut broken) = all.into_inner().expect("nobody panics with it");
    broken.sort();
    Runs { counts, broken, tried: seeds.end - seeds.start }
}

impl<C> Runs<C> {
    /// Panics if a seed failed, with the command that repeats the first.
    pub fn assert_none_broken(&self, test: &str) {
        if let Some((seed, why)) = self.broken.first() {
            let replay = volume::replay(test, *seed);
            let all: Vec<u64> = self.broken.iter().map(|(seed, _)| *seed).collect();
            panic!("{} seeds failed: {all:?}; the first, {seed}: {why}\n{replay}", all.len());
        }
    }

    /// Panics if one of `counts` is 0 although at least `most` seeds were run.
    pub fn assert_all_reached(&self, counts: &[(&'static str, u64)], most: u64) {
        if self.tried >= most {
            let never: Vec<_> = counts.iter().filter(|(_, count)| *count == 0).collect();
            assert!(never.is_empty(), "never reached: {never:?}");
        }
    }
}

#[test]
fn a_run_that_panics_or_fails_is_broken_and_the_others_count() {
    let run = |seed: u64| match seed {
        7 => panic!("seven"),
        9 => Err("nine".to_owned()),
        seed => Ok(seed),
    };
    let runs = run_all("seeds_of_this_test", 10, run, |sum: &mut u64, seed| *sum += seed);
    if runs.tried == 10 {
        let broken = [(7, "panicked: seven".to_owned()), (9, "nine".to_owned())];
        assert_eq!((runs.counts, runs.broken.as_slice()), (39, &broken[..]));
        assert!(std::panic::catch_unwind(|| runs.assert_none_broken("a_test")).is_err());
        assert!(std::panic::catch_unwind(|| runs.assert_all_reached(&[("a", 0)], 10)).is_err());
        runs.assert_all_reached(&[("a", 0)], 11);
    }
}
