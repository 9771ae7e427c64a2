//! The sampler against llama2.c's numbers, a naive twin in f64, and hand-computed values; the
//! stop texts against a search in the whole text.

use nine_tui::engine::sampler::{Choice, Cut, Params, Rng, Sampler};
use nine_tui::engine::stop::Stops;
use proptest::prelude::*;

fn off() -> Params {
    Params { top_p: 1.0, seed: 1, ..Params::default() }
}

/// Logits made as for the facts below: 9·u³ with u from llama2.c's generator.
fn logits(n: usize, rng: &mut Rng) -> Vec<f32> {
    (0..n)
        .map(|_| {
            let u = rng.next_f32() * 2.0 - 1.0;
            9.0 * u * u * u
        })
        .collect()
}

#[test]
fn random_numbers_are_those_of_llama2_c() {
    // Printed by random_u32 of llama2.c's run.c: five numbers and the state after them.
    let facts: [(u64, [u32; 5], u64); 4] = [
        (0x1, [1206177355, 2882512552, 3117485455, 1303648416, 241277360], 0x81f_d021_0eb2_5e00),
        (0x2a, [1456360119, 3359763283, 3393612768, 4054632243, 3283045847], 0x53e4_a303_a98c_e13e),
        (0x539, [989205090, 818269915, 1335155955, 3876892996, 2941700015], 0xb0c4_be96_a156_f6b5),
        (
            0xdead_beef_cafe_babe,
            [2099861439, 637314667, 1873939892, 1391575483, 189106344],
            0x4017_57bd_7095_c2ec,
        ),
    ];
    for (seed, numbers, state) in facts {
        let mut rng = Rng::new(seed);
        assert_eq!(numbers, std::array::from_fn(|_| rng.next_u32()), "seed {seed:#x}");
        assert_eq!(rng.state(), state);
    }
    // And its random_f32, as bits.
    let mut rng = Rng::new(42);
    for bits in [0x3ead_9c94, 0x3f48_41eb, 0x3f4a_466b, 0x3f71_acc7] {
        assert_eq!(rng.next_f32().to_bits(), bits);
    }
    assert_ne!(Rng::new(0).next_u32(), Rng::new(0).state() as u32);
    assert_ne!(Rng::new(0).state(), 0, "zero would stay zero for ever");
}

#[test]
fn tokens_are_those_of_llama2_c() {
    // 24 tokens each, printed by `sample` of llama2.c's run.c (gcc -O2 -ffp-contract=off) on the
    // logits made by `logits` from seed 1000, 1001, …
    #[rustfmt::skip]
    let facts: [(usize, f32, f32, u64, [u32; 24]); 8] = [
        (512, 1.0, 0.9, 42, [99, 205, 235, 408, 213, 459, 406, 138, 289, 489, 505, 147, 377, 8, 467, 430, 447, 468, 242, 182, 177, 245, 331, 257]),
        (512, 0.8, 0.9, 1337, [143, 289, 110, 25, 403, 445, 225, 357, 45, 44, 273, 84, 164, 221, 43, 473, 351, 391, 305, 384, 430, 209, 211, 456]),
        (512, 1.0, 1.0, 7, [426, 358, 13, 32, 199, 169, 423, 64, 244, 401, 421, 368, 249, 447, 98, 209, 497, 422, 268, 374, 125, 70, 120, 314]),
        (512, 1.5, 0.5, 3, [46, 243, 296, 157, 407, 223, 494, 283, 71, 96, 19, 363, 223, 268, 14, 359, 509, 4, 274, 26, 449, 237, 72, 43]),
        (4096, 0.3, 0.95, 99, [2929, 2514, 2137, 2627, 1544, 3316, 2565, 1238, 2254, 1479, 3059, 219, 3050, 859, 177, 2163, 931, 760, 1316, 3319, 2218, 2146, 2827, 1888]),
        (4096, 2.0, 0.0, 5, [910, 2360, 2221, 1774, 578, 1243, 408, 903, 2656, 3694, 3111, 646, 2783, 67, 2229, 1319, 3715, 3575, 3654, 1915, 1776, 1382, 1413, 814]),
        (4096, 1.0, 0.999, 11, [488, 2648, 2797, 2952, 2632, 3227, 1871, 314, 3022, 1088, 3807, 1110, 858, 2297, 1546, 2779, 415, 1420, 2268, 3869, 1385, 2542, 3458, 3275]),
        (2, 1.0, 0.9, 13, [0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]),
    ];
    for (case, (n, temp, top_p, seed, tokens)) in (0..).zip(facts) {
        for top in [0, 5] {
            let params = Params { temp, top_p, seed, ..Params::default() };
            let mut sampler = Sampler::new(params, n);
            let mut source = Rng::new(1000 + case);
            let ours =
                std::array::from_fn(|_| sampler.sample(&logits(n, &mut source), &[], top).id);
            assert_eq!(tokens, ours, "case {case} with {top} candidates");
        }
    }
}

#[test]
fn one_number_is_drawn_per_sampled_token_and_none_per_greedy_one() {
    let mut source = Rng::new(9);
    let many = [
        off(),
        Params { top_k: 3, ..off() },
        Params { min_p: 0.1, top_p: 0.5, ..off() },
        Params { logit_bias: (0..8).map(|i| (i, f32::NEG_INFINITY)).collect(), ..off() },
        Params { temp: 1e-45, ..off() },
    ];
    for params in many {
        let mut sampler = Sampler::new(params, 8);
        let mut alone = sampler.rng.clone();
        for top in [0, 1, 8, 100] {
            sampler.sample(&logits(8, &mut source), &[], top);
            alone.next_u32();
            assert_eq!(sampler.rng, alone);
        }
        sampler.params.temp = 0.0;
        sampler.sample(&logits(8, &mut source), &[], 1);
        assert_eq!(sampler.rng, alone);
    }
}

#[test]
fn temperature_zero_takes_the_first_of_the_best_after_bias_and_penalties() {
    let mut s = Sampler::new(Params { temp: 0.0, ..off() }, 4);
    assert_eq!(s.sample(&[1.0, 3.0, 3.0, 2.0], &[], 0).id, 1);
    s.params.repeat_penalty = 2.0;
    assert_eq!(s.sample(&[1.0, 3.0, 3.0, 2.0], &[1], 0).id, 2);
    assert_eq!(s.sample(&[1.0, 3.0, 3.0, 2.0], &[1, 2], 0).id, 3);
    s.params.logit_bias = vec![(3, f32::NEG_INFINITY), (0, 0.6), (77, 5.0)];
    let c = s.sample(&[1.0, 3.0, 3.0, 2.0], &[1, 2], 4);
    assert_eq!((c.id, c.p_final, c.kept), (0, 1.0, 1));
    let cuts: Vec<_> = c.top.iter().map(|t| (t.id, t.cut)).collect();
    let greedy = Some(Cut::Greedy);
    assert_eq!(cuts, [(1, greedy), (2, greedy), (3, Some(Cut::Bias)), (0, None)]);
}

#[test]
fn penalties_are_what_a_hand_computes() {
    // All off but one; the final probabilities of two tokens tell the difference of their logits.
    let gap = |params: Params, history: &[u32]| {
        let c = Sampler::new(params, 3).sample(&[2.0, -1.0, 0.0], history, 3);
        let p = |id| f64::from(c.top.iter().find(|t| t.id == id).unwrap().p_final);
        ((p(0) / p(2)).ln(), (p(1) / p(2)).ln())
    };
    let close = |(a, b): (f64, f64), (x, y): (f64, f64)| {
        assert!((a - x).abs() < 1e-5 && (b - y).abs() < 1e-5, "{a} {b}, expected {x} {y}");
    };
    close(gap(off(), &[0, 1, 2]), (2.0, -1.0));
    // Above zero divided, below multiplied, once however often it occurred.
    let repeat = Params { repeat_penalty: 1.25, ..off() };
    close(gap(repeat.clone(), &[0, 0, 1]), (2.0 / 1.25, -1.25));
    close(gap(Params { presence_penalty: 0.5, ..off() }, &[0, 0, 1]), (1.5, -1.5));
    close(gap(Params { frequency_penalty: 0.5, ..off() }, &[0, 0, 1]), (1.0, -1.5));
    let all = Params { presence_penalty: 0.25, frequency_penalty: 0.5, ..repeat };
    close(gap(all.clone(), &[0, 0, 1]), (2.0 / 1.25 - 1.25, -1.25 - 0.75));
    // The window: only the last two, or all; ids outside the vocabulary count for nothing.
    close(gap(Params { penalty_last: 2, ..all.clone() }, &[0, 0, 1, 9, 9]), (2.0, -1.0));
    let everything = Params { penalty_last: 0, ..all };
    close(gap(everything, &[0, 0, 1, 9, 9]), (2.0 / 1.25 - 1.25, -1.25 - 0.75));
}

#[test]
fn the_same_seed_gives_the_same_choices() {
    let params = Params { top_k: 20, min_p: 0.01, seed: 5, ..Params::default() };
    let run = |s: &mut Sampler| -> Vec<Choice> {
        let mut source = Rng::new(3);
        (0..50).map(|_| s.sample(&logits(300, &mut source), &[7, 8], 4)).collect()
    };
    let mut s = Sampler::new(params, 300);
    let first = run(&mut s);
    assert_ne!(run(&mut s), first);
    s.reseed(5);
    assert_eq!(run(&mut s), first);
}

#[test]
fn hostile_logits_and_knobs_still_give_a_token() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let rows: [&[f32]; 9] = [
        &[nan; 5],
        &[-inf; 5],
        &[inf; 5],
        &[nan, 1.0, inf, -inf, 0.0],
        &[f32::MAX, f32::MIN, 0.0, -0.0, 1e-45],
        &[f32::MIN; 5],
        &[-0.0, 0.0, -0.0, 0.0, -0.0],
        &[nan],
        &[1.0],
    ];
    let knob = [0.0, 1.0, 0.5, -1.0, 1e-45, f32::MAX, inf, -inf, nan];
    for logits in rows {
        for temp in knob {
            for other in knob {
                let params = Params {
                    temp,
                    top_p: other,
                    top_k: 3,
                    min_p: other,
                    repeat_penalty: other,
                    presence_penalty: other,
                    frequency_penalty: other,
                    logit_bias: vec![(0, other), (u32::MAX, 1.0)],
                    ..off()
                };
                for params in [params.clone(), Params { top_k: usize::MAX, ..params }] {
                    let mut s = Sampler::new(params, 5);
                    let c = s.sample(logits, &[0, 0, 1, 1 << 30], usize::MAX);
                    assert!((c.id as usize) < logits.len(), "{logits:?} {:?}", s.params);
                    assert_eq!(c.top.len(), logits.len());
                    assert!(c.p_final >= 0.0 && c.p_final <= 1.0001, "{c:?} {:?}", s.params);
                }
            }
        }
    }
    assert_eq!(Sampler::new(off(), 0).sample(&[], &[1], 3), Choice::default());
    let c = Sampler::new(off(), 5).sample(&[nan, 1.0, inf, -inf, 0.0], &[], 1);
    assert_eq!((c.id, c.kept, c.logprob), (2, 1, Some(0.0)), "+∞ is certain");
}

#[test]
fn where_everything_is_banned_the_best_raw_logit_is_taken_and_said_so() {
    let bans = (0..4).map(|i| (i, f32::NEG_INFINITY)).collect();
    let mut s = Sampler::new(Params { logit_bias: bans, ..off() }, 4);
    let c = s.sample(&[0.0, 2.0, 1.0, f32::NAN], &[], 2);
    assert_eq!((c.id, c.kept, c.p_final, c.kept_mass), (1, 0, 0.0, Some(0.0)));
    assert!(c.top.iter().all(|t| t.cut == Some(Cut::Bias)));
}

#[test]
fn a_ban_holds_whatever_the_coin() {
    let mut s = Sampler::new(Params { logit_bias: vec![(2, f32::NEG_INFINITY)], ..off() }, 3);
    for _ in 0..2000 {
        assert_ne!(s.sample(&[0.0, 0.0, 5.0], &[], 0).id, 2);
    }
}

#[test]
fn knobs_out_of_range_are_refused_by_name() {
    assert!(Params::default().check().is_ok());
    assert!(Params { temp: 0.0, ..off() }.check().is_ok());
    let bad = [
        ("temp", Params { temp: -0.1, ..off() }),
        ("temp", Params { temp: f32::NAN, ..off() }),
        ("top_p", Params { top_p: 1.1, ..off() }),
        ("min_p", Params { min_p: -0.1, ..off() }),
        ("repeat_penalty", Params { repeat_penalty: 0.0, ..off() }),
        ("presence_penalty", Params { presence_penalty: f32::INFINITY, ..off() }),
        ("frequency_penalty", Params { frequency_penalty: f32::NAN, ..off() }),
        ("token 3", Params { logit_bias: vec![(3, f32::NAN)], ..off() }),
    ];
    for (name, params) in bad {
        let message = params.check().unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
    }
}

/// The chain once more, in f64, sorting everything and cutting one stage after the other.
/// Returns for each token its final probability and the stage that cut it, and says whether a
/// threshold lies so near to a value that f32 may decide otherwise.
fn twin(logits: &[f32], p: &Params, history: &[u32]) -> (Vec<(f64, Option<Cut>)>, bool) {
    let mut x: Vec<f64> = logits.iter().map(|&v| f64::from(v)).collect();
    for &(id, b) in &p.logit_bias {
        x[id as usize] += f64::from(b);
    }
    let from = if p.penalty_last == 0 { 0 } else { history.len().saturating_sub(p.penalty_last) };
    for (id, x) in x.iter_mut().enumerate() {
        let count = history[from..].iter().filter(|&&t| t as usize == id).count();
        if count > 0 {
            let r = f64::from(p.repeat_penalty);
            *x = if *x > 0.0 { *x / r } else { *x * r };
            *x -= f64::from(p.presence_penalty) + count as f64 * f64::from(p.frequency_penalty);
        }
    }
    let most = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = x.iter().map(|v| ((v - most) / f64::from(p.temp)).exp()).collect();
    let sum: f64 = e.iter().sum();
    let probs: Vec<f64> = e.iter().map(|v| v / sum).collect();
    let mut order: Vec<usize> = (0..probs.len()).collect();
    order.sort_by(|&a, &b| probs[b].total_cmp(&probs[a]).then(a.cmp(&b)));

    let mut near = order.windows(2).any(|w| {
        let (a, b) = (probs[w[0]], probs[w[1]]);
        a != b && (a - b) < 1e-5 * a
    });
    let mut out: Vec<(f64, Option<Cut>)> = vec![(0.0, None); probs.len()];
    let (mut mass, mut open) = (0.0, true);
    for (rank, &id) in order.iter().enumerate() {
        let prob = probs[id];
        // f32 has no such number.
        near |= prob > 0.0 && prob < 1e-36;
        let floor = f64::from(p.min_p) * probs[order[0]];
        near |= (prob - floor).abs() < 1e-5 * floor;
        out[id].1 = if x[id] == f64::NEG_INFINITY {
            Some(Cut::Bias)
        } else if p.top_k > 0 && rank >= p.top_k {
            Some(Cut::TopK)
        } else if prob < floor {
            Some(Cut::MinP)
        } else if !open {
            Some(Cut::TopP)
        } else {
            None
        };
        if out[id].1.is_none() {
            mass += prob;
            out[id].0 = prob;
        }
        if p.top_p > 0.0 && p.top_p < 1.0 {
            near |= (mass - f64::from(p.top_p)).abs() < 1e-4;
            open &= mass <= f64::from(p.top_p);
        }
    }
    out.iter_mut().for_each(|o| o.0 /= mass);
    (out, near)
}

fn any_params() -> impl Strategy<Value = Params> {
    let on = |range: std::ops::Range<f32>, off: f32| prop_oneof![2 => Just(off), 1 => range.prop_map(|v| v)];
    (
        0.1f32..3.0,
        on(0.05..0.99, 1.0),
        prop_oneof![Just(0usize), 1usize..60],
        on(0.001..0.5, 0.0),
        on(0.5..2.0, 1.0),
        on(-1.0..1.0, 0.0),
        on(-1.0..1.0, 0.0),
        0usize..6,
        prop::collection::vec((0u32..40, prop_oneof![Just(f32::NEG_INFINITY), -3f32..3.0]), 0..4),
        any::<u64>(),
    )
        .prop_map(
            |(temp, top_p, top_k, min_p, repeat, presence, frequency, last, bias, seed)| Params {
                temp,
                top_p,
                top_k,
                min_p,
                repeat_penalty: repeat,
                presence_penalty: presence,
                frequency_penalty: frequency,
                penalty_last: last,
                logit_bias: bias,
                seed,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, max_global_rejects: 100_000, ..Default::default() })]

    #[test]
    fn the_chain_equals_its_naive_twin(
        params in any_params(),
        logits in prop::collection::vec(prop_oneof![4 => -9f32..9.0, 1 => Just(1.5f32)], 40..300),
        history in prop::collection::vec(0u32..40, 0..12),
        top in 1usize..20,
    ) {
        let (twin, near) = twin(&logits, &params, &history);
        prop_assume!(!near);
        let mut quiet = Sampler::new(params.clone(), logits.len());
        let mut s = quiet.clone();
        let all = s.sample(&logits, &history, logits.len());

        let raw_sum: f64 = logits.iter().map(|&v| f64::from(v).exp()).sum();
        prop_assert_eq!(all.top.len(), logits.len());
        for c in &all.top {
            let (p, cut) = twin[c.id as usize];
            prop_assert_eq!(c.cut, cut, "token {} of {:?}", c.id, all);
            prop_assert!((f64::from(c.p_final) - p).abs() <= 1e-4 * p + 1e-9);
            let logprob = f64::from(logits[c.id as usize]) - raw_sum.ln();
            prop_assert!((f64::from(c.logprob) - logprob).abs() < 1e-4);
        }
        let alive: Vec<_> = all.top.iter().filter(|c| c.cut.is_none()).collect();
        prop_assert_eq!(all.kept, alive.len());
        let mass: f64 = alive.iter().map(|c| f64::from(c.logprob).exp()).sum();
        prop_assert!((f64::from(all.kept_mass.unwrap()) - mass).abs() < 1e-4);
        let taken = all.top.iter().find(|c| c.id == all.id).unwrap();
        prop_assert_eq!(taken.cut, None);
        prop_assert_eq!((Some(taken.logprob), taken.p_final), (all.logprob, all.p_final));
        let sorted = all.top.windows(2).all(|w| {
            let (a, b) = (logits[w[0].id as usize], logits[w[1].id as usize]);
            a > b || (a == b && w[0].id < w[1].id)
        });
        prop_assert!(sorted);

        // Asking for less tells less and chooses the same.
        let mut some = s.clone();
        some.reseed(params.seed);
        let some = some.sample(&logits, &history, top);
        prop_assert_eq!(&some.top[..], &all.top[..top]);
        let silent = quiet.sample(&logits, &history, 0);
        prop_assert_eq!((silent.id, silent.kept, silent.p_final), (all.id, all.kept, all.p_final));
        prop_assert_eq!((silent.logprob, silent.kept_mass, silent.top.len()), (None, None, 0));
    }

    #[test]
    fn stop_texts_are_found_wherever_the_pieces_are_cut(
        text in "[abß]{0,24}",
        stops in prop::collection::vec("[abß]{0,4}", 0..4),
        cuts in prop::collection::vec(0usize..25, 0..8),
    ) {
        // The whole text at once: the first end at which any stop text is complete.
        let ends = (0..=text.len()).filter(|&e| text.is_char_boundary(e));
        let hits = ends.filter_map(|e| {
            let found = stops.iter().filter(|s| !s.is_empty() && text[..e].ends_with(s.as_str()));
            found.map(|s| e - s.len()).min()
        });
        let expected = hits.take(1).next();

        let chars: Vec<char> = text.chars().collect();
        let mut at: Vec<usize> = cuts.iter().map(|c| c % (chars.len() + 1)).collect();
        at.extend([0, chars.len()]);
        at.sort_unstable();
        let mut s = Stops::new(&stops);
        let (mut out, mut hit, mut received) = (String::new(), false, String::new());
        for w in at.windows(2) {
            let piece: String = chars[w[0]..w[1]].iter().collect();
            let (emitted, found) = s.push(&piece);
            prop_assert!(!hit || (emitted.is_empty() && found), "nothing after a hit");
            received.push_str(&piece);
            out.push_str(&emitted);
            hit = found;
            if !hit {
                // Held back is only what may become a stop text, and all of that.
                let held = &received[out.len()..];
                let may = |h: &str| stops.iter().any(|s| s.len() > h.len() && s.starts_with(h));
                prop_assert!(held.is_empty() || may(held), "{held:?}");
                let longer = received.char_indices().map(|(i, _)| &received[i..]);
                prop_assert!(longer.filter(|h| h.len() > held.len()).all(|h| !may(h)));
            }
        }
        out.push_str(&s.finish());
        prop_assert_eq!(hit, expected.is_some());
        prop_assert_eq!(&out, &text[..expected.unwrap_or(text.len())]);
    }
}

#[test]
fn a_stop_text_that_does_not_come_true_is_given_out_after_all() {
    let mut s = Stops::new(&["</s>".into(), String::new()]);
    assert_eq!(s.push("a</"), ("a".into(), false));
    assert_eq!(s.push("</s"), ("</".into(), false));
    assert_eq!(s.finish(), "</s");
    assert_eq!(s.push(">b"), (">b".into(), false));
    assert_eq!(s.push("x</s>y"), ("x".into(), true));
    assert_eq!(s.push("z"), (String::new(), true));
    assert_eq!(s.finish(), "");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        rng_seed: proptest::test_runner::RngSeed::Fixed(9),
        ..Default::default()
    })]

    #[test]
    fn tokens_come_as_often_as_their_final_probability_says(
        params in any_params(),
        logits in prop::collection::vec(-2f32..2.0, 40..50),
    ) {
        // With a coin in the cell of a token, that token comes: the cells, walked in the order of
        // the draw, are as wide as the final probabilities. Shown by counting.
        let mut s = Sampler::new(params, logits.len());
        let all = s.sample(&logits, &[], logits.len());
        let mut count = vec![0u32; logits.len()];
        const N: u32 = 400;
        for _ in 0..N {
            count[s.sample(&logits, &[], 0).id as usize] += 1;
        }
        for c in &all.top {
            let (p, n) = (f64::from(c.p_final), f64::from(N));
            // Six standard deviations and a half: the seeds are fixed, so chance has no say later.
            let bound = 6.5 * (n * p * (1.0 - p)).sqrt() + 3.0;
            let seen = f64::from(count[c.id as usize]);
            prop_assert!((seen - n * p).abs() < bound, "token {}: {seen} of {}", c.id, n * p);
            prop_assert!(c.cut.is_none() || seen == 0.0);
        }
    }
}
