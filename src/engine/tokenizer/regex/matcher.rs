//! Runs a pattern over text.
//!
//! Backtracking with memory: there are no captures and no back references, so whether a step
//! matches at a place depends on nothing else. A loop that was entered at a place, and a run that
//! failed over a stretch, never have to be tried there again.

use super::class::LEN_SHIFT;
use super::{Mode, Op, Pattern};

/// Buffers that survive from text to text.
#[derive(Default)]
pub(in crate::engine::tokenizer) struct Scratch {
    /// The mask of each character.
    masks: Vec<u64>,
    stack: Vec<Frame>,
    /// For each run without an upper limit, the stretch over which it has failed: (from, to).
    failed: Vec<(usize, usize)>,
    /// For each loop and place, whether it was entered there: one bit each.
    entered: Vec<u64>,
}

/// What is left to try.
enum Frame {
    /// Another branch.
    Branch { pc: usize, at: usize },
    /// A run that gave back characters down to `at`, `left` more to give.
    Greedy { pc: usize, from: usize, to: usize, at: usize, left: usize },
    /// A run that has taken characters up to `at`.
    Lazy { pc: usize, from: usize, at: usize },
}

/// Bytes of the characters behind these masks.
fn bytes(masks: &[u64]) -> usize {
    masks.iter().map(|m| 1 + (m >> LEN_SHIFT) as usize).sum()
}

/// Calls `found` with every match, in bytes.
pub(super) fn each_match(
    pattern: &Pattern,
    text: &str,
    scratch: &mut Scratch,
    found: &mut dyn FnMut(usize, usize),
) {
    let Scratch { masks, stack, failed, entered } = scratch;
    masks.clear();
    masks.extend(text.chars().map(|c| pattern.classes.mask(c)));
    stack.clear();
    failed.clear();
    failed.resize(pattern.runs, NEVER);
    entered.clear();
    entered.resize((pattern.loops * (masks.len() + 1)).div_ceil(64), 0);
    let mut m = Matcher { ops: &pattern.ops, text: masks, stack, failed, entered };

    let mut at = 0;
    let mut byte = 0;
    while at < m.text.len() {
        let hopeless = pattern.first.is_some_and(|first| m.text[at] & first == 0);
        let end = if hopeless { None } else { m.run(0, at) };
        if let Some(end) = end {
            let to = byte + bytes(&m.text[at..end]);
            found(byte, to);
            m.forget(end, pattern.loops);
            byte = to;
            if end > at {
                at = end;
                continue;
            }
        }
        byte += bytes(&m.text[at..=at]);
        at += 1;
    }
}

/// A run that has not failed anywhere.
const NEVER: (usize, usize) = (1, 0);

struct Matcher<'a> {
    ops: &'a [Op],
    text: &'a [u64],
    stack: &'a mut Vec<Frame>,
    failed: &'a mut [(usize, usize)],
    entered: &'a mut [u64],
}

impl Matcher<'_> {
    fn is(&self, at: usize, mask: u64) -> bool {
        self.text.get(at).is_some_and(|c| c & mask != 0)
    }

    /// Runs from step `pc` at character `at`; where the match ends, if there is one.
    fn run(&mut self, mut pc: usize, mut at: usize) -> Option<usize> {
        let base = self.stack.len();
        loop {
            let next = match self.ops[pc] {
                Op::Match => {
                    self.stack.truncate(base);
                    return Some(at);
                }
                Op::Class(mask) => self.is(at, mask).then(|| (pc + 1, at + 1)),
                Op::Run { mask, min, max, mode, slot } => {
                    self.take(pc, at, mask, (min, max), mode, slot).map(|end| (pc + 1, end))
                }
                Op::Jump(to) => Some((to, at)),
                Op::Split { first, second, slot } => {
                    if slot.is_some_and(|slot| !self.enter(slot, at)) {
                        None
                    } else {
                        self.stack.push(Frame::Branch { pc: second, at });
                        Some((first, at))
                    }
                }
                Op::Ahead { negated, end } => {
                    (self.run(pc + 1, at).is_some() != negated).then_some((end, at))
                }
                Op::Behind { negated, mask } => {
                    let is = at > 0 && self.is(at - 1, mask);
                    (is != negated).then_some((pc + 1, at))
                }
                Op::Start { newline } => {
                    (at == 0 || self.is(at - 1, newline)).then_some((pc + 1, at))
                }
                Op::End { newline } => {
                    (at == self.text.len() || self.is(at, newline)).then_some((pc + 1, at))
                }
                Op::Word { negated, mask } => {
                    let before = at > 0 && self.is(at - 1, mask);
                    ((before != self.is(at, mask)) != negated).then_some((pc + 1, at))
                }
            };
            (pc, at) = match next {
                Some(next) => next,
                None => self.back(base)?,
            };
        }
    }

    /// Takes the first length that a run offers and keeps the others for later.
    fn take(
        &mut self,
        pc: usize,
        from: usize,
        mask: u64,
        (min, max): (usize, usize),
        mode: Mode,
        slot: usize,
    ) -> Option<usize> {
        let (low, high) = self.failed[slot];
        if max == usize::MAX && low <= from && from <= high {
            return None;
        }
        let most = if mode == Mode::Lazy { min } else { max };
        let rest = self.text.get(from..)?;
        let n = rest.iter().take(most).take_while(|&&c| c & mask != 0).count();
        let left = n.checked_sub(min)?;
        let to = from + n;
        match mode {
            Mode::Greedy if left > 0 => {
                self.stack.push(Frame::Greedy { pc, from, to, at: to, left });
            }
            Mode::Lazy => self.stack.push(Frame::Lazy { pc, from, at: to }),
            Mode::Greedy | Mode::Possessive => {}
        }
        Some(to)
    }

    /// The next thing to try: a step and a place.
    fn back(&mut self, base: usize) -> Option<(usize, usize)> {
        while self.stack.len() > base {
            match self.stack.pop()? {
                Frame::Branch { pc, at } => return Some((pc, at)),
                Frame::Greedy { pc, from, to, left: 0, .. } => self.fail(pc, from, to),
                Frame::Greedy { pc, from, to, at, left } => {
                    let (at, left) = (at - 1, left - 1);
                    self.stack.push(Frame::Greedy { pc, from, to, at, left });
                    return Some((pc + 1, at));
                }
                Frame::Lazy { pc, from, at } => {
                    let Op::Run { mask, max, .. } = self.ops[pc] else { continue };
                    if at - from < max && self.is(at, mask) {
                        self.stack.push(Frame::Lazy { pc, from, at: at + 1 });
                        return Some((pc + 1, at + 1));
                    }
                    self.fail(pc, from, at);
                }
            }
        }
        None
    }

    /// Remembers that the run at `pc` leads nowhere from any place of a stretch: from a later place
    /// it could only end where it has ended already.
    fn fail(&mut self, pc: usize, from: usize, to: usize) {
        if let Op::Run { slot, max: usize::MAX, .. } = self.ops[pc] {
            self.failed[slot] = (from, to);
        }
    }

    /// Enters a loop; false if it was entered here before.
    fn enter(&mut self, slot: usize, at: usize) -> bool {
        let bit = slot * (self.text.len() + 1) + at;
        let (word, mask) = (bit / 64, 1 << (bit % 64));
        let before = self.entered[word] & mask != 0;
        self.entered[word] |= mask;
        !before
    }

    /// After a match that ended at `end`: the loops that led there have not failed.
    fn forget(&mut self, end: usize, loops: usize) {
        for slot in 0..loops {
            let bit = slot * (self.text.len() + 1) + end;
            self.entered[bit / 64] &= !(1 << (bit % 64));
        }
    }
}
