//! The tree of tensors, and the numbers of the chosen one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyEvent;
use ratatui::layout::{Position, Rect};

use super::Panel;
use super::tree::{Row, Tree};
use crate::engine::{Checkpoint, Error, Tensor};
use crate::tools::info::TensorLine;
use crate::tools::tensor::{Look, Stats, TRIED, Tryout};
use crate::ui::jobs::{JobId, Owner, Pending, Told, Work};
use crate::ui::keymap::{Focus, Now};
use crate::ui::msg::{Action, Effect, View};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::composer::{Composer, Edit};
use crate::ui::widgets::list::List;

/// A tensor is measured when it was chosen for this long: who holds an arrow key down does not
/// start a job for each row.
const REST: Duration = Duration::from_millis(120);
/// Most numbers that are looked at without being asked for.
const LOOKED: u64 = 1 << 26;
/// Most numbers that every type is tried on without being asked for.
const TRIED_ALONE: u64 = 1 << 21;
/// Rows and columns that are decoded at a time.
pub(super) const BLOCK: (usize, usize) = (64, 64);
/// Tensors whose measures are kept.
const KEPT: usize = 256;

/// What was found out of a tensor.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// Its shape; `Some(None)` where it cannot be decoded.
    pub look: Option<Option<Arc<Look>>>,
    /// What types would do.
    pub types: Vec<Tryout>,
    /// All were tried.
    pub tried: bool,
    /// Why there is no more.
    pub fault: Option<Arc<Error>>,
}

/// Some decoded numbers.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    pub tensor: usize,
    /// Row and column of the first.
    pub corner: (usize, usize),
    pub rows: Option<Vec<Vec<f32>>>,
}

/// What is being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typing {
    Filter,
    Goto,
}

/// The part.
#[derive(Debug)]
pub struct Tensors {
    pub(super) ckpt: Arc<Checkpoint>,
    pub(super) tree: Tree,
    pub(super) list: List,
    pub(super) filter: Composer,
    pub(super) goto: Composer,
    pub(super) typing: Option<Typing>,
    before: String,
    /// The numbers have the focus.
    pub(super) inside: bool,
    /// The last window had room for one pane only.
    pub(super) narrow: bool,
    pub(super) view: View,
    pub(super) measured: HashMap<usize, Measured>,
    /// What a check of the whole file found; `Some(None)` where it could not look.
    pub(super) checked: Vec<Option<Option<Stats>>>,
    checking: Pending,
    measuring: Pending,
    /// Which tensor is measured.
    pub(super) target: Option<usize>,
    decoding: Pending,
    asked: (usize, usize),
    pub(super) numbers: Option<Numbers>,
    /// Row and column of the first number that is seen.
    pub(super) corner: (usize, usize),
    pub(super) by_size: List,
    now: Duration,
    due: Option<Duration>,
}

impl Tensors {
    /// The tensors of a file.
    pub fn new(ckpt: Arc<Checkpoint>, now: Duration, base: u64) -> Tensors {
        let tree = Tree::new(&ckpt);
        Tensors {
            ckpt,
            tree,
            list: List::default(),
            filter: Composer::default(),
            goto: Composer::default(),
            typing: None,
            before: String::new(),
            inside: false,
            narrow: false,
            view: View::Values,
            measured: HashMap::new(),
            checked: Vec::new(),
            checking: Pending::after(base),
            measuring: Pending::after(base),
            target: None,
            decoding: Pending::after(base),
            asked: (0, 0),
            numbers: None,
            corner: (0, 0),
            by_size: List::default(),
            now,
            due: Some(now + REST),
        }
    }

    pub(super) fn row(&self) -> Option<Row> {
        self.tree.rows().get(self.list.at).copied()
    }

    /// The chosen tensor.
    pub(super) fn chosen(&self) -> Option<usize> {
        self.tree.leaf(self.row()?)
    }

    pub(super) fn tensor(&self, leaf: usize) -> Option<&Tensor> {
        self.ckpt.tensors.get_index(leaf).map(|(_, t)| t)
    }

    /// Whether the chosen tensor is at work.
    pub(super) fn is_measuring(&self) -> bool {
        self.measuring.is_running() && self.target == self.chosen()
    }

    /// What is known of a tensor's numbers; `Some(None)` where they cannot be decoded.
    pub(super) fn stats(&self, leaf: usize) -> Option<Option<Stats>> {
        let look = self.measured.get(&leaf).and_then(|m| m.look.as_ref());
        match look {
            Some(look) => Some(look.as_ref().map(|l| l.stats)),
            None => self.checked.get(leaf).copied().flatten(),
        }
    }

    /// How the check of all tensors went: how many were looked at, and how many of them are bad.
    fn verdict(&self) -> (usize, usize) {
        let known = self.checked.iter().flatten();
        let bad = |s: &&Option<Stats>| s.is_some_and(|s| s.nan + s.inf > 0);
        (known.clone().count(), known.filter(bad).count())
    }

    /// Another row was chosen.
    fn moved(&mut self) {
        (self.corner, self.by_size) = ((0, 0), List::default());
        self.due = Some(self.now + REST);
    }

    /// Has the chosen tensor measured, as far as it is not yet; without `all`, no more than takes a
    /// moment.
    fn measure(&mut self, all: bool, out: &mut Vec<Effect>) {
        let Some(leaf) = self.chosen() else { return };
        let Some(tensor) = self.tensor(leaf).cloned() else { return };
        let n = tensor.len() as u64;
        let known = self.measured.get(&leaf);
        let look = known.is_none_or(|m| m.look.is_none()) && (all || n <= LOOKED);
        let types = known.is_none_or(|m| !m.tried) && (all || n <= TRIED_ALONE);
        let (busy, same) = (self.measuring.is_running(), self.target == Some(leaf));
        if (look || types) && !(busy && same && !all) {
            if self.measured.len() >= KEPT {
                self.measured.clear();
            }
            let entry = self.measured.entry(leaf).or_default();
            entry.fault = None;
            if types {
                entry.types.clear();
            }
            self.target = Some(leaf);
            let work = Work::Measure { tensor, look, types };
            out.push(Effect::Job(self.measuring.start(Owner::Tensor, work)));
        }
    }

    /// Has the numbers decoded that are to be seen.
    fn decode(&mut self, out: &mut Vec<Effect>) {
        let Some(leaf) = self.chosen() else { return };
        let Some(tensor) = self.tensor(leaf).cloned() else { return };
        // Some before and some after: a step further is there already.
        let first = |at: usize, n: usize| at.saturating_sub(n / 4);
        let corner = (first(self.corner.0, BLOCK.0), first(self.corner.1, BLOCK.1));
        let work = Work::Numbers {
            tensor,
            rows: corner.0..corner.0 + BLOCK.0,
            cols: corner.1..corner.1 + BLOCK.1,
        };
        self.asked = corner;
        self.target = Some(leaf);
        out.push(Effect::Job(self.decoding.start(Owner::Numbers, work)));
    }

    /// Whether the numbers at the corner are there, with some behind them.
    fn has_numbers(&self) -> bool {
        let Some(leaf) = self.chosen() else { return true };
        let Some(tensor) = self.tensor(leaf) else { return true };
        let inside = |at: usize, first: usize, n: usize, all: usize| {
            at >= first && (at + n / 2 <= first + n || first + n >= all)
        };
        self.numbers.as_ref().is_some_and(|n| {
            n.tensor == leaf
                && inside(self.corner.0, n.corner.0, BLOCK.0, tensor.rows())
                && inside(self.corner.1, n.corner.1, BLOCK.1, tensor.cols())
        })
    }

    fn go(&mut self, row: usize, out: &mut Vec<Effect>) {
        let Some(tensor) = self.chosen().and_then(|l| self.tensor(l)) else { return };
        let last = (tensor.rows().saturating_sub(1), tensor.cols().saturating_sub(1));
        self.corner = (row.min(last.0), self.corner.1.min(last.1));
        if !self.has_numbers() {
            self.decode(out);
        }
    }

    /// Keys in the numbers.
    fn act_inside(&mut self, action: Action, out: &mut Vec<Effect>) {
        let (row, col) = self.corner;
        if self.view == View::Rows {
            let look = self.chosen().and_then(|l| self.measured.get(&l)?.look.clone()?);
            let order = look.map_or(0, |l| l.row_order.len());
            self.by_size.act(action, order);
            if action == Action::Open {
                self.show_row(out);
            }
            return;
        }
        match action {
            Action::Scroll(n) => self.go(row.saturating_add_signed(n.into()), out),
            Action::ScrollHalf(n) => self.go(row.saturating_add_signed(isize::from(n) * 8), out),
            Action::Top => self.go(0, out),
            Action::Bottom => self.go(usize::MAX, out),
            Action::Fold { open } => {
                self.corner.1 = if open { col.saturating_add(4) } else { col.saturating_sub(4) };
                self.go(row, out);
            }
            Action::Open => self.measure(true, out),
            _ => {}
        }
    }

    /// From a row in the list of sizes to its numbers.
    fn show_row(&mut self, out: &mut Vec<Effect>) {
        let Some(leaf) = self.chosen() else { return };
        let look = self.measured.get(&leaf).and_then(|m| m.look.clone().flatten());
        if let Some(row) = look.and_then(|l| l.row_order.get(self.by_size.at).copied()) {
            self.view = View::Values;
            self.go(row as usize, out);
        }
    }

    fn refilter(&mut self) {
        let kept = self.row();
        self.tree.filter(&self.filter.text());
        let at = self.tree.rows().iter().position(|r| Some(*r) == kept);
        self.list.go(at.filter(|_| self.typing.is_none()).unwrap_or(0), self.tree.rows().len());
        self.moved();
    }

    fn end(&mut self, keep: bool, out: &mut Vec<Effect>) {
        match (self.typing.take(), keep) {
            (Some(Typing::Filter), false) => {
                let before = std::mem::take(&mut self.before);
                self.filter.set(&before);
                self.refilter();
            }
            (Some(Typing::Goto), true) => {
                if let Ok(row) = self.goto.text().trim().parse() {
                    self.view = View::Values;
                    self.go(row, out);
                }
            }
            _ => {}
        }
    }

    /// Opens or closes the chosen row's group.
    fn fold(&mut self, open: bool) {
        let (group, leaf) = match self.row() {
            Some(Row::Group(g)) => (g, None),
            Some(Row::Tensor { leaf, inside: true }) if !open => match self.tree.group_of(leaf) {
                Some(g) => (g, Some(leaf)),
                None => return,
            },
            _ => return,
        };
        if self.tree.fold(group, open) && leaf.is_some() {
            let at = self.tree.rows().iter().position(|r| *r == Row::Group(group));
            self.list.go(at.unwrap_or(0), self.tree.rows().len());
            self.moved();
        }
    }

    fn act_tree(&mut self, action: Action, out: &mut Vec<Effect>) {
        match (action, self.row()) {
            (Action::Open, Some(Row::Group(g))) => {
                let open = self.tree.groups.get(g).is_some_and(|g| g.open);
                self.fold(!open);
            }
            (Action::Open, Some(Row::Tensor { .. })) => {
                self.measure(true, out);
                self.inside = true;
            }
            (Action::Fold { open }, _) => self.fold(open),
            (Action::Sort | Action::SortReverse, kept) => {
                match action {
                    Action::Sort => self.tree.next_order(),
                    _ => self.tree.turn_round(),
                }
                let leaf = kept.and_then(|r| self.tree.leaf(r));
                let same = |r: &Row| leaf.is_some() && self.tree.leaf(*r) == leaf;
                let at = self.tree.rows().iter().position(same);
                self.list.go(at.unwrap_or(0), self.tree.rows().len());
                self.moved();
            }
            (Action::Back, _) if !self.filter.is_empty() => {
                self.filter.set("");
                self.refilter();
            }
            _ => {
                if self.list.act(action, self.tree.rows().len()) {
                    self.moved();
                }
            }
        }
    }

    fn yank(&self, all: bool) -> Option<String> {
        match self.row()? {
            Row::Group(g) => self.tree.groups.get(g).map(|g| g.name.clone()),
            Row::Tensor { leaf, .. } if !all => self.tensor(leaf).map(|t| t.name.clone()),
            Row::Tensor { leaf, .. } => {
                let measured = self.measured.get(&leaf).cloned().unwrap_or_default();
                let line = serde_json::json!({
                    "tensor": TensorLine::of(self.tensor(leaf)?),
                    "stats": measured.look.flatten().as_deref(),
                    "types": measured.types,
                });
                Some(line.to_string())
            }
        }
    }
}

impl Panel for Tensors {
    fn situation(&self) -> Now {
        let focus = match (self.typing, self.inside) {
            (Some(_), _) => Focus::Field,
            (None, true) => Focus::Values,
            (None, false) => Focus::Tree,
        };
        let enter = match self.row() {
            Some(Row::Group(g)) => {
                let open = self.tree.groups.get(g).is_some_and(|g| g.open);
                Some(if open { "close" } else { "open" })
            }
            Some(Row::Tensor { .. }) => Some("numbers"),
            None => None,
        };
        Now {
            focus,
            empty: self.tree.rows().is_empty(),
            enter,
            filters: !self.inside && !self.tree.leaves.is_empty(),
            sorts: !self.inside && self.filter.is_empty() && self.tree.rows().len() > 1,
            busy: self.checking.is_running(),
            numbers: self.chosen().is_some(),
            panes: self.chosen().is_some() || self.inside,
            ..Now::default()
        }
    }

    fn act(&mut self, action: Action, out: &mut Vec<Effect>) {
        match action {
            Action::FieldEnd { keep } => self.end(keep, out),
            Action::Edit(Edit::Newline) => {}
            Action::Edit(edit) => {
                match self.typing {
                    Some(Typing::Filter) => {
                        self.filter.edit(edit);
                        self.refilter();
                    }
                    Some(Typing::Goto) => self.goto.edit(edit),
                    None => {}
                };
            }
            Action::Filter => {
                self.inside = false;
                self.before = self.filter.text();
                self.typing = Some(Typing::Filter);
            }
            Action::Check if !self.checking.is_running() => {
                self.checked = vec![None; self.tree.leaves.len()];
                let work = Work::Check(self.ckpt.clone());
                out.push(Effect::Job(self.checking.start(Owner::Check, work)));
            }
            Action::Goto if self.chosen().is_some() => {
                self.goto.set("");
                self.typing = Some(Typing::Goto);
            }
            Action::View(view) => {
                self.view = if self.view == view { View::Values } else { view };
                self.inside |= self.narrow && self.chosen().is_some();
            }
            Action::Yank { all } => out.extend(self.yank(all).map(Effect::Copy)),
            Action::NextPane | Action::PrevPane => {
                self.inside = !self.inside && self.chosen().is_some();
            }
            Action::Back if self.inside => self.inside = false,
            // Rows can be walked while a filter is typed.
            action if self.inside && self.typing.is_none() => self.act_inside(action, out),
            action => self.act_tree(action, out),
        }
    }

    fn key(&mut self, key: KeyEvent, _: &mut Vec<Effect>) {
        match self.typing {
            Some(Typing::Filter) => {
                self.filter.key(key);
                self.refilter();
            }
            Some(Typing::Goto) => self.goto.key(key),
            None => {}
        }
    }

    fn paste(&mut self, text: &str, _: &mut Vec<Effect>) {
        let line = text.lines().next().unwrap_or_default().trim();
        match self.typing {
            Some(Typing::Filter) => {
                self.filter.paste(line);
                self.refilter();
            }
            Some(Typing::Goto) => self.goto.paste(line),
            None => {}
        }
    }

    fn told(&mut self, id: JobId, told: Told) {
        if id.owner == Owner::Check {
            if let (true, Told::Checked(n, stats)) = (self.checking.takes(id, &told), told)
                && let Some(known) = self.checked.get_mut(n)
            {
                *known = Some(stats);
            }
            return;
        }
        let takes = match id.owner {
            Owner::Tensor => self.measuring.takes(id, &told),
            Owner::Numbers => self.decoding.takes(id, &told),
            _ => false,
        };
        let (true, Some(tensor)) = (takes, self.target) else { return };
        if let (Owner::Numbers, Told::Numbers(rows)) = (id.owner, &told) {
            self.numbers = Some(Numbers { tensor, corner: self.asked, rows: rows.clone() });
            return;
        }
        let entry = self.measured.entry(tensor).or_default();
        match told {
            Told::Look(look) => entry.look = Some(look),
            Told::Tryout(t) => {
                entry.types.push(t);
                entry.tried = entry.types.len() == TRIED.len();
            }
            Told::Failed(e) => entry.fault = Some(e),
            _ => {}
        }
    }

    fn time(&mut self, now: Duration, out: &mut Vec<Effect>) {
        self.now = now;
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        self.due = None;
        if self.chosen() != self.target {
            self.measuring.stop();
        }
        self.measure(false, out);
        if !self.has_numbers() {
            self.decode(out);
        }
    }

    fn deadline(&self) -> Option<Duration> {
        self.due
    }

    fn interrupt(&mut self) -> bool {
        if self.typing.take().is_some() {
            return true;
        }
        let running = self.measuring.is_running() || self.checking.is_running();
        self.measuring.stop();
        self.checking.stop();
        running
    }

    fn status(&self) -> Option<(String, Role)> {
        let all = self.tree.leaves.len();
        match (self.verdict(), self.checking.is_running()) {
            ((n, 0), true) => {
                return Some((format!("● checking {n} of {all} tensors"), Role::Value));
            }
            ((n, bad), true) => {
                let text = format!("● checking {n} of {all} tensors: {bad} with NaN or Inf");
                return Some((text, Role::Bad));
            }
            ((n, bad), false) if bad > 0 => {
                let text = format!("✗ {bad} of {n} tensors have NaN or infinite numbers");
                return Some((text, Role::Bad));
            }
            ((n, 0), false) if n == all && n > 0 && !self.is_measuring() => {
                let unread = self.checked.iter().filter(|c| **c == Some(None)).count();
                let zero =
                    self.checked.iter().flatten().flatten().map(|s| s.zero_rows).sum::<u64>();
                let text = match unread {
                    0 => format!("✓ no NaN and no Inf in {n} tensors, {zero} rows of zeros"),
                    _ => format!("✓ no NaN and no Inf; {unread} of {n} tensors are not decoded"),
                };
                return Some((text, Role::Good));
            }
            _ => {}
        }
        let leaf = self.target.filter(|_| self.is_measuring())?;
        let known = self.measured.get(&leaf).map_or(0, |m| m.types.len());
        let name = self.tensor(leaf).map_or("", |t| t.name.as_str());
        let what = match known {
            0 => format!("● measuring {name}"),
            n => format!("● measuring {name} · {n} of {} types", TRIED.len()),
        };
        Some((what, Role::Value))
    }

    fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) -> Option<Position> {
        self.paint(area, buf, theme)
    }
}
