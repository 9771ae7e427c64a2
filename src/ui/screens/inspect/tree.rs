//! The tensors of a file as a tree: which rows there are, in which order, open or closed. Knows
//! names and sizes, and nothing of pixels.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::engine::{Checkpoint, DType};
use crate::tools::fuzzy;

/// What the tree knows of a tensor.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Canonical name.
    pub name: String,
    /// Type.
    pub dtype: DType,
    /// Bytes.
    pub bytes: u64,
    /// Numbers.
    pub numbers: u64,
}

/// Tensors whose names begin alike: a layer.
#[derive(Clone, Debug)]
pub struct Group {
    /// The beginning, without the point.
    pub name: String,
    /// Indices of its leaves.
    pub members: Vec<usize>,
    /// Their bytes.
    pub bytes: u64,
    /// Their types, in the order of their bytes.
    pub types: String,
    /// Its tensors are shown.
    pub open: bool,
}

/// A row of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// A group.
    Group(usize),
    /// A tensor; `inside` a group that is open.
    Tensor {
        /// Which.
        leaf: usize,
        /// It stands below its group.
        inside: bool,
    },
}

/// Orders of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By layer, as a tree.
    #[default]
    Layer,
    /// As they stand in the file.
    File,
    /// By name.
    Name,
    /// The largest first.
    Size,
    /// By type.
    Type,
}

/// All orders and their words.
pub const ORDERS: [(Order, &str); 5] = [
    (Order::Layer, "by layer"),
    (Order::File, "as in the file"),
    (Order::Name, "by name"),
    (Order::Size, "by size"),
    (Order::Type, "by type"),
];

/// The tree.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// All tensors in file order.
    pub leaves: Vec<Leaf>,
    /// All groups.
    pub groups: Vec<Group>,
    /// Bytes of all tensors.
    pub bytes: u64,
    top: Vec<Row>,
    order: Order,
    reverse: bool,
    pattern: String,
    shown: Vec<Row>,
}

impl Tree {
    /// The tree of a file, its first group open.
    pub fn new(ckpt: &Checkpoint) -> Tree {
        let leaves = ckpt.tensors.values().map(|t| Leaf {
            name: t.name.clone(),
            dtype: t.dtype,
            bytes: t.data.len() as u64,
            numbers: t.len() as u64,
        });
        Tree::of(leaves.collect())
    }

    fn of(leaves: Vec<Leaf>) -> Tree {
        let mut tree = Tree { bytes: leaves.iter().map(|l| l.bytes).sum(), ..Tree::default() };
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        for (n, leaf) in leaves.iter().enumerate() {
            let Some(head) = head(&leaf.name) else {
                tree.top.push(Row::Tensor { leaf: n, inside: false });
                continue;
            };
            let g = *by_name.entry(head).or_insert_with(|| {
                tree.top.push(Row::Group(tree.groups.len()));
                tree.groups.push(Group {
                    name: head.to_owned(),
                    members: Vec::new(),
                    bytes: 0,
                    types: String::new(),
                    open: false,
                });
                tree.groups.len() - 1
            });
            tree.groups[g].members.push(n);
            tree.groups[g].bytes += leaf.bytes;
        }
        for group in &mut tree.groups {
            group.types = types(&leaves, &group.members);
        }
        tree.leaves = leaves;
        tree.sort_groups();
        if let Some(Row::Group(first)) = tree.top.iter().find(|r| matches!(r, Row::Group(_))) {
            tree.groups[*first].open = true;
        }
        tree.arrange();
        tree
    }

    /// Puts layers in the order of their numbers, each kind where its first one stood: files whose
    /// names are sorted have `blk.10` before `blk.2`.
    fn sort_groups(&mut self) {
        let split = |g: &Group| {
            let (kind, number) = g.name.rsplit_once('.').unwrap_or_default();
            (kind.to_owned(), number.parse::<u64>().unwrap_or(u64::MAX))
        };
        let mut first: HashMap<String, usize> = HashMap::new();
        let mut sorted: Vec<(usize, u64, usize)> = Vec::new();
        for (g, (kind, number)) in self.groups.iter().map(split).enumerate() {
            sorted.push((*first.entry(kind).or_insert(g), number, g));
        }
        sorted.sort_unstable();
        let mut next = sorted.into_iter().map(|(.., g)| g);
        for row in &mut self.top {
            if let Row::Group(at) = row
                && let Some(g) = next.next()
            {
                *at = g;
            }
        }
    }

    /// The rows that are shown.
    pub fn rows(&self) -> &[Row] {
        &self.shown
    }

    /// The groups in the order of the tree.
    pub fn layers(&self) -> impl Iterator<Item = &Group> {
        self.top.iter().filter_map(|r| match r {
            Row::Group(g) => self.groups.get(*g),
            Row::Tensor { .. } => None,
        })
    }

    /// What is said of the order.
    pub fn order_name(&self) -> &'static str {
        ORDERS.iter().find(|(o, _)| *o == self.order).map_or("", |(_, name)| name)
    }

    /// Whether it is read from its end.
    pub fn is_reversed(&self) -> bool {
        self.reverse
    }

    /// The tensor of a row.
    pub fn leaf(&self, row: Row) -> Option<usize> {
        match row {
            Row::Group(_) => None,
            Row::Tensor { leaf, .. } => Some(leaf),
        }
    }

    /// Shows only tensors whose names fit, best first; all with an empty pattern.
    pub fn filter(&mut self, pattern: &str) {
        if self.pattern != pattern {
            self.pattern = pattern.to_owned();
            self.arrange();
        }
    }

    /// The next order.
    pub fn next_order(&mut self) {
        let at = ORDERS.iter().position(|(o, _)| *o == self.order).unwrap_or(0);
        (self.order, self.reverse) = (ORDERS[(at + 1) % ORDERS.len()].0, false);
        self.arrange();
    }

    /// The same order from its end.
    pub fn turn_round(&mut self) {
        self.reverse = !self.reverse;
        self.arrange();
    }

    /// Opens or closes a group; whether something changed.
    pub fn fold(&mut self, group: usize, open: bool) -> bool {
        let changed = self.groups.get(group).is_some_and(|g| g.open != open);
        if changed {
            self.groups[group].open = open;
            self.arrange();
        }
        changed
    }

    /// Bytes of a tensor's name that are its group's, with the point behind them.
    pub fn head_len(&self, leaf: usize) -> usize {
        self.leaves.get(leaf).and_then(|l| head(&l.name)).map_or(0, |h| h.len() + 1)
    }

    /// The group that a tensor belongs to.
    pub fn group_of(&self, leaf: usize) -> Option<usize> {
        let head = head(&self.leaves.get(leaf)?.name)?;
        self.groups.iter().position(|g| g.name == head)
    }

    fn arrange(&mut self) {
        let flat = |leaf| Row::Tensor { leaf, inside: false };
        self.shown = if !self.pattern.trim().is_empty() {
            let names = self.leaves.iter().map(|l| l.name.as_str());
            fuzzy::filter(&self.pattern, names).into_iter().map(flat).collect()
        } else if self.order == Order::Layer {
            self.unfolded()
        } else {
            let mut all: Vec<usize> = (0..self.leaves.len()).collect();
            let leaf = |i: &usize| &self.leaves[*i];
            match self.order {
                Order::Name => all.sort_by(|a, b| leaf(a).name.cmp(&leaf(b).name)),
                Order::Size => all.sort_by_key(|i| Reverse(leaf(i).bytes)),
                Order::Type => all.sort_by_key(|i| leaf(i).dtype.name()),
                Order::Layer | Order::File => {}
            }
            all.into_iter().map(flat).collect()
        };
        // A tree turned round would have its groups below their tensors.
        if self.reverse && (self.order != Order::Layer || !self.pattern.trim().is_empty()) {
            self.shown.reverse();
        }
    }

    fn unfolded(&self) -> Vec<Row> {
        let mut out = Vec::new();
        let top: Box<dyn Iterator<Item = &Row>> =
            if self.reverse { Box::new(self.top.iter().rev()) } else { Box::new(self.top.iter()) };
        for row in top {
            out.push(*row);
            if let Row::Group(g) = row {
                let group = &self.groups[*g];
                let members = group.members.iter().filter(|_| group.open);
                out.extend(members.map(|leaf| Row::Tensor { leaf: *leaf, inside: true }));
            }
        }
        out
    }
}

/// The beginning of a name up to its first number: `blk.3` of `blk.3.attn_q.weight`.
fn head(name: &str) -> Option<&str> {
    let mut at = 0;
    for part in name.split('.') {
        let end = at + part.len();
        let number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        // A number that begins or ends a name does not group anything.
        if number && at > 0 && end < name.len() {
            return Some(&name[..end]);
        }
        at = end + 1;
    }
    None
}

/// The types of some tensors, that of most bytes first; the third is followed by dots.
fn types(leaves: &[Leaf], members: &[usize]) -> String {
    let mut by: Vec<(DType, u64)> = Vec::new();
    for leaf in members.iter().map(|i| &leaves[*i]) {
        match by.iter_mut().find(|(d, _)| *d == leaf.dtype) {
            Some((_, n)) => *n += leaf.bytes,
            None => by.push((leaf.dtype, leaf.bytes)),
        }
    }
    by.sort_by_key(|(_, n)| Reverse(*n));
    match by.as_slice() {
        [] => String::new(),
        [(only, _)] => only.name().to_owned(),
        [(most, _), ..] => format!("{}+", most.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(names: &[&str]) -> Tree {
        let leaf = |(n, name): (usize, &&str)| Leaf {
            name: (*name).to_owned(),
            dtype: if n % 2 == 0 { DType::F32 } else { DType::Q8_0 },
            bytes: 10 * (n as u64 + 1),
            numbers: 1,
        };
        Tree::of(names.iter().enumerate().map(leaf).collect())
    }

    fn text(tree: &Tree) -> Vec<String> {
        let row = |r: &Row| match r {
            Row::Group(g) => format!("[{}]", tree.groups[*g].name),
            Row::Tensor { leaf, inside } => {
                format!("{}{}", if *inside { "  " } else { "" }, tree.leaves[*leaf].name)
            }
        };
        tree.rows().iter().map(row).collect()
    }

    const NAMES: [&str; 6] =
        ["embd.weight", "blk.10.q.weight", "blk.2.q.weight", "blk.2.k.weight", "v.blk.0.q", "out"];

    #[test]
    fn layers_are_groups_in_the_order_of_their_numbers() {
        let mut t = tree(&NAMES);
        let all = ["embd.weight", "[blk.2]", "  blk.2.q.weight", "  blk.2.k.weight", "[blk.10]"];
        assert_eq!(text(&t)[..5], all);
        assert_eq!(text(&t)[5..], ["[v.blk.0]", "out"]);
        let two = t.group_of(3).unwrap();
        assert_eq!((t.groups[two].bytes, t.groups[two].types.as_str()), (70, "Q8_0+"));
        assert!(t.fold(two, false) && !t.fold(two, false));
        assert_eq!(t.rows().len(), 5);
    }

    #[test]
    fn other_orders_and_a_filter_are_flat() {
        let mut t = tree(&NAMES);
        t.next_order();
        assert_eq!(text(&t), NAMES);
        t.turn_round();
        assert_eq!(text(&t)[0], "out");
        t.next_order();
        assert_eq!(text(&t)[0], "blk.10.q.weight");
        t.next_order();
        assert_eq!(text(&t)[0], "out");
        t.filter("2 q");
        assert_eq!(text(&t), ["blk.2.q.weight"]);
        t.filter("");
        assert_eq!(t.rows().len(), 6);
    }

    #[test]
    fn what_is_a_head_has_a_number_in_its_middle() {
        for (name, want) in [
            ("blk.0.attn_q.weight", Some("blk.0")),
            ("model.layers.7.mlp.experts.3.up.weight", Some("model.layers.7")),
            ("0.weight", None),
            ("a.0", None),
            ("", None),
            ("..", None),
        ] {
            assert_eq!(head(name), want, "{name}");
        }
    }

    #[test]
    fn ten_thousand_tensors_are_filtered_within_a_frame() {
        let names: Vec<String> =
            (0..10_000).map(|n| format!("blk.{}.ffn_expert_{}.weight", n / 100, n % 100)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut t = tree(&names);
        assert_eq!(t.rows().len(), 200);
        let start = std::time::Instant::now();
        for pattern in ["f", "ff", "ffn 9", "ffn 99", ""] {
            t.filter(pattern);
        }
        // Five keys; the bound is for a debug build on a busy machine.
        assert!(start.elapsed().as_secs_f64() < 1.0, "{:?}", start.elapsed());
        assert_eq!(t.rows().len(), 200);
    }
}
