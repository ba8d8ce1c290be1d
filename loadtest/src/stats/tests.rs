//! Whether the intervals cover what they must as often as they say, on data whose truth is known.

use rand_distr::{Distribution, Normal as Gaussian};

use super::*;

/// Log-normal figures about `centre` that scatter by `spread`; with `memory` above 0 neighbours
/// are alike.
fn figures(random: &mut StdRng, count: usize, centre: f64, spread: f64, memory: f64) -> Vec<f64> {
    let noise = Gaussian::new(0.0, 1.0).unwrap();
    let mut state: f64 = noise.sample(random);
    (0..count)
        .map(|_| {
            state = memory * state + (1.0 - memory * memory).sqrt() * noise.sample(random);
            centre * (spread * state).exp()
        })
        .collect()
}

fn median_ratio(a: &[f64], b: &[f64], seed: u64) -> Option<Interval> {
    let of = |values: &[f64], chosen: &[usize]| {
        median(&chosen.iter().map(|at| values[*at]).collect::<Vec<_>>()).unwrap()
    };
    ratio_of(a, b, seed, &of)
}

fn mean_ratio(a: &[f64], b: &[f64], seed: u64) -> Option<Interval> {
    let of = |values: &[f64], chosen: &[usize]| {
        chosen.iter().map(|at| values[*at]).sum::<f64>() / chosen.len() as f64
    };
    ratio_of(a, b, seed, &of)
}

fn ratio_of(
    a: &[f64],
    b: &[f64],
    seed: u64,
    of: &dyn Fn(&[f64], &[usize]) -> f64,
) -> Option<Interval> {
    let a = Series { len: a.len(), figure: &|chosen| of(a, chosen) };
    let b = Series { len: b.len(), figure: &|chosen| of(b, chosen) };
    // Fewer resamples than in earnest: what is asked here is coverage, over many trials.
    resampled_ratio(&a, &b, 0.95, 300, seed)
}

#[test]
fn signed_ranks_are_as_many_as_counting_every_choice_of_signs_finds() {
    for pairs in 0..=14_usize {
        let mut counted = vec![0_u32; pairs * (pairs + 1) / 2 + 1];
        for signs in 0..1_u32 << pairs {
            let sum: usize = (0..pairs).filter(|at| signs >> at & 1 == 1).map(|at| at + 1).sum();
            counted[sum] += 1;
        }
        let exact: Vec<f64> =
            counted.iter().map(|count| f64::from(*count) / f64::from(1_u32 << pairs)).collect();
        assert_eq!(signed_rank_distribution(pairs), exact, "{pairs} pairs");
    }
}

#[test]
fn as_many_means_are_left_out_as_the_published_tables_say() {
    // Critical values of the signed-rank test, two-sided: W is rejected at or below the first.
    let tables = [
        (0.95, [(6, 0), (10, 8), (20, 52), (30, 137), (50, 434)]),
        (0.99, [(8, 0), (10, 3), (20, 37), (30, 109), (50, 373)]),
    ];
    for (confidence, rows) in tables {
        for (pairs, critical) in rows {
            assert_eq!(signed_rank_trim(pairs, confidence).0, critical + 1, "{pairs} {confidence}");
        }
    }
    assert_eq!((pairs_needed(0.95), pairs_needed(0.99), pairs_needed(0.999)), (6, 8, 11));
}

#[test]
fn the_normal_approximation_takes_over_without_a_leap() {
    for confidence in [0.9, 0.95, 0.99] {
        let (exact, _) = signed_rank_trim(EXACT_PAIRS_MAX, confidence);
        let tail = 1.0 - upper_tail(confidence);
        let approximate = approximate_trim(EXACT_PAIRS_MAX, tail);
        assert!(approximate.abs_diff(exact) < 10, "{exact} then {approximate}");
    }
}

#[test]
fn too_few_pairs_say_nothing_rather_than_too_much() {
    let base = [10.0, 11.0, 10.5, 10.2, 10.9];
    let head = base.map(|value| value * 3.0);
    let five = paired_ratio(&base, &head, 0.95).unwrap();
    assert!(!five.is_bounded() && five.contains(1.0) && five.confidence == 1.0);
    assert_eq!((five.low, five.high), (0.0, f64::INFINITY));
    assert!((five.estimate - 3.0).abs() < 1e-12);
    let six = paired_ratio(&[&base[..], &[10.0]].concat(), &[&head[..], &[30.0]].concat(), 0.95);
    let six = six.unwrap();
    assert!(six.is_bounded() && !six.contains(1.0));
    assert_eq!(six.confidence, 1.0 - 2.0 / 64.0);
}

#[test]
fn figures_that_make_no_sense_give_nothing() {
    let good = [1.0; 8];
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let mut head = good;
        head[3] = bad;
        assert_eq!(paired_ratio(&good, &head, 0.95), None, "{bad}");
        assert_eq!(paired_ratio_t(&head, &good, 0.95), None, "{bad}");
    }
    assert_eq!(paired_ratio(&[], &[], 0.95), None);
    assert_eq!(paired_ratio(&good, &good[1..], 0.95), None);
    for confidence in [0.0, 1.0, -0.5, f64::NAN] {
        assert_eq!(paired_ratio(&good, &good, confidence), None);
        assert_eq!(paired_ratio_t(&good, &good, confidence), None);
    }
    assert_eq!(paired_ratio_t(&[1.0], &[1.0], 0.95), None);
    assert_eq!(mean_ratio(&good[1..], &good, 1), None, "a series that is too short");
    assert_eq!(mean_ratio(&[0.0; 20], &good, 1), None);
}

#[test]
fn one_disturbed_run_moves_signed_ranks_little_and_t_a_lot() {
    let base = [100.0; 12];
    let mut head: Vec<f64> = (0..12).map(|at| 110.0 + f64::from(at % 3)).collect();
    let calm = paired_ratio(&base, &head, 0.95).unwrap();
    head[5] = 900.0;
    let ranks = paired_ratio(&base, &head, 0.95).unwrap();
    let student = paired_ratio_t(&base, &head, 0.95).unwrap();
    assert!((ranks.estimate / calm.estimate - 1.0).abs() < 0.01);
    assert!(!ranks.contains(1.0) && student.contains(1.0), "{ranks:?} {student:?}");
}

#[test]
fn turning_the_sides_turns_the_interval() {
    let mut random = StdRng::seed_from_u64(7);
    let base = figures(&mut random, 9, 50.0, 0.1, 0.0);
    let head = figures(&mut random, 9, 60.0, 0.1, 0.0);
    let there = paired_ratio(&base, &head, 0.95).unwrap();
    let back = paired_ratio(&head, &base, 0.95).unwrap().inverse();
    for (one, other) in
        [(there.low, back.low), (there.estimate, back.estimate), (there.high, back.high)]
    {
        assert!((one / other - 1.0).abs() < 1e-12, "{there:?} {back:?}");
    }
    assert!(there.low <= there.estimate && there.estimate <= there.high);
}

/// How many of `trials` intervals hold the true ratio.
fn covered(trials: u64, truth: f64, mut interval: impl FnMut(u64) -> Interval) -> f64 {
    let hits = (0..trials).filter(|trial| interval(*trial).contains(truth)).count();
    hits as f64 / trials as f64
}

#[test]
fn paired_intervals_hold_the_truth_as_often_as_they_say() {
    let mut random = StdRng::seed_from_u64(1);
    for pairs in [6, 10, 25] {
        // What both sides of a pair share, as the hour, is far larger than what is looked for.
        let mut draw = || {
            let shared = figures(&mut random, pairs, 100.0, 0.5, 0.0);
            let mut side = |centre: f64| -> Vec<f64> {
                let own = figures(&mut random, pairs, centre, 0.03, 0.0);
                own.iter().zip(&shared).map(|(own, shared)| own * shared).collect()
            };
            (side(1.0), side(1.1))
        };
        let mut promised = 0.0;
        let ranks = covered(2_000, 1.1, |_| {
            let (base, head) = draw();
            let interval = paired_ratio(&base, &head, 0.95).unwrap();
            promised = interval.confidence;
            interval
        });
        let student = covered(2_000, 1.1, |_| {
            let (base, head) = draw();
            paired_ratio_t(&base, &head, 0.95).unwrap()
        });
        // 2,000 trials scatter by 0.5 % (one standard deviation).
        assert!((ranks - promised).abs() < 0.015, "{pairs} pairs: {ranks}, promised {promised}");
        assert!((student - 0.95).abs() < 0.015, "{pairs} pairs: {student}");
    }
}

#[test]
fn series_intervals_hold_the_truth_about_as_often_as_they_say() {
    let mut random = StdRng::seed_from_u64(2);
    for (slices, memory) in [(10, 0.0), (40, 0.5), (80, 0.5)] {
        for (what, ratio) in [("mean", mean_ratio as fn(&_, &_, _) -> _), ("median", median_ratio)]
        {
            let held = covered(100, 1.2, |seed| {
                let a = figures(&mut random, slices, 100.0, 0.1, memory);
                let b = figures(&mut random, slices, 120.0, 0.1, memory);
                ratio(&a[..], &b[..], seed).unwrap()
            });
            assert!(held >= 0.90, "{what} of {slices} slices, memory {memory}: {held}");
        }
    }
}

#[test]
fn series_intervals_are_not_so_wide_that_they_say_nothing() {
    let mut random = StdRng::seed_from_u64(3);
    let seen = (0..40_u64).filter(|seed| {
        let a = figures(&mut random, 60, 100.0, 0.05, 0.3);
        let b = figures(&mut random, 60, 110.0, 0.05, 0.3);
        !median_ratio(&a, &b, *seed).unwrap().contains(1.0)
    });
    assert!(seen.count() >= 38, "a tenth must be seen over a scatter of a twentieth");
    let a = figures(&mut random, 60, 100.0, 0.05, 0.3);
    assert_eq!(mean_ratio(&a, &a, 5), mean_ratio(&a, &a, 5), "the same seed says the same");
}

#[test]
fn percentiles_lie_between_their_neighbours() {
    let values = [1.0, 2.0, 4.0, 8.0];
    assert_eq!(percentile(&values, 0.0), Some(1.0));
    assert_eq!(percentile(&values, 50.0), Some(3.0));
    assert_eq!(percentile(&values, 100.0), Some(8.0));
    assert_eq!(percentile(&values, 200.0), Some(8.0));
    assert_eq!(percentile(&[], 50.0), None);
    assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
    assert_eq!((mean(&[]), median(&[])), (None, None));
    assert!((geometric_mean(&[1.0, 4.0]).unwrap() - 2.0).abs() < 1e-12);
}
