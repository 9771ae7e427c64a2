//! The order of candidates: best first, equals by id.

use std::cmp::Ordering;

use super::Token;

/// A token and the number it is ranked by (a probability or a logit, never NaN).
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranked {
    pub value: f32,
    pub id: Token,
}

impl Ranked {
    /// Descending by value, then ascending by id: a total order without equals, so that every
    /// sort and every selection agrees on it.
    pub fn order(a: &Ranked, b: &Ranked) -> Ordering {
        b.value.total_cmp(&a.value).then(a.id.cmp(&b.id))
    }
}

/// Fills `out` with the `k` best of `values`, best first, in one pass that looks closely only at
/// what can still get in. Values below `floor` never do. No NaN.
pub(super) fn best(values: &[f32], k: usize, floor: f32, out: &mut Vec<Ranked>) {
    out.clear();
    if k == 0 {
        return;
    }
    // Room for twice k, then the worse half goes: amortised constant time per entrant.
    let room = k.saturating_mul(2).max(64);
    let mut full = false;
    let mut floor = floor;
    for (id, &value) in values.iter().enumerate() {
        // Once k are in, an equal that comes later ranks behind them.
        if value < floor || (full && value == floor) {
            continue;
        }
        // Adding zero makes −0 the +0 that it equals, where the sort would tell them apart.
        out.push(Ranked { value: value + 0.0, id: id as Token });
        if out.len() >= room {
            out.select_nth_unstable_by(k - 1, Ranked::order);
            out.truncate(k);
            floor = out[k - 1].value;
            full = true;
        }
    }
    out.sort_unstable_by(Ranked::order);
    out.truncate(k);
}
