//! The conversation as it is read: the way to the head of the tree as texts, which token of which
//! text is which of the tree, what is pointed at, and how tokens look.

use std::collections::HashMap;
use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::reply;
use crate::conversation::{Body, NodeId, Place, Record, Reply, Span, Tree};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::knobs;
use crate::ui::widgets::transcript::{FORK, Item, MARK, Paint, Spot, Transcript, Voice};

/// Most places that a search finds: more help nobody.
const MOST_FOUND: usize = 10_000;

/// A text, or a token of it, that is pointed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The text.
    pub item: usize,
    /// The token, where the text has tokens.
    pub token: Option<usize>,
}

/// What tokens are told apart by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// Nothing.
    #[default]
    Off,
    /// Probability before any knob.
    Probability,
    /// Entropy of the distribution.
    Entropy,
    /// How many tokens were more probable.
    Rank,
}

impl Colour {
    /// All, by name.
    pub const ALL: [(&'static str, Colour); 4] = [
        ("off", Colour::Off),
        ("probability", Colour::Probability),
        ("entropy", Colour::Entropy),
        ("rank", Colour::Rank),
    ];

    /// The next one.
    pub fn next(self) -> Colour {
        let at = Colour::ALL.iter().position(|(_, c)| *c == self).unwrap_or(0);
        Colour::ALL[(at + 1) % Colour::ALL.len()].1
    }

    /// That of a name.
    pub fn from_name(name: &str) -> Option<Colour> {
        Colour::ALL.into_iter().find(|(n, _)| *n == name).map(|(_, c)| c)
    }

    /// What its marks mean, in a line; nothing where there are none.
    pub fn legend(self) -> &'static str {
        match self {
            Colour::Off => "",
            Colour::Probability => "p: underlined 10–50%, bold < 10%",
            Colour::Entropy => "entropy: underlined 1–3 bits, bold > 3",
            Colour::Rank => "rank: underlined 2nd–5th, bold beyond",
        }
    }

    /// How a token looks: told by underlining and weight as well as by colour.
    fn role(self, record: &Record) -> Option<Role> {
        let of = |unsure: bool, rare: bool| match (rare, unsure) {
            (true, _) => Role::Rare,
            (_, true) => Role::Unsure,
            _ => Role::Likely,
        };
        match self {
            Colour::Off => None,
            Colour::Probability => record.p().map(|p| of(p < 0.5, p < 0.1)),
            Colour::Entropy => record.entropy.map(|h| of(h > 1.0, h > 3.0)),
            Colour::Rank => record.rank.map(|r| of(r > 0, r > 4)),
        }
    }
}

/// A stretch of a text's tokens that is one node's.
#[derive(Clone, Copy, Debug)]
struct Part {
    node: NodeId,
    /// The text's token that is the node's first.
    first: usize,
}

/// Where a text comes from.
#[derive(Clone, Debug, Default)]
struct Origin {
    /// The node of a message, or the first of a reply; none for what the program says.
    node: Option<NodeId>,
    /// Nodes of a reply.
    parts: Vec<Part>,
}

/// Something that the program said, which stands behind a node.
#[derive(Clone, Debug)]
struct Note {
    behind: Option<NodeId>,
    voice: Voice,
    text: String,
}

/// The conversation's texts.
#[derive(Debug, Default)]
pub struct View {
    /// The texts.
    pub transcript: Transcript,
    origins: Vec<Origin>,
    notes: Vec<Note>,
    /// What is pointed at.
    pub cursor: Option<Cursor>,
    /// Where the selection began.
    pub anchor: Option<(usize, usize)>,
    /// What tokens are told apart by.
    pub colour: Colour,
    /// What is searched for.
    pub query: String,
    /// Where it was found, by text.
    found: Vec<Vec<Range<usize>>>,
}

impl View {
    /// No texts, told apart by this.
    pub fn new(colour: Colour) -> View {
        View { colour, ..View::default() }
    }

    /// Lays the way to the head out anew.
    pub fn rebuild(&mut self, tree: &Tree, name: &str) {
        let path = tree.path(tree.head());
        let blank = tree.blanks();
        let mut kids: HashMap<Option<Place>, Vec<NodeId>> = HashMap::new();
        for (id, node) in tree.nodes().iter().enumerate().filter(|(id, _)| !blank[*id]) {
            kids.entry(node.parent).or_default().push(id);
        }
        let mut b = Builder { tree, name, kids, items: Vec::new(), origins: Vec::new() };
        b.notes(&self.notes, None);
        for (n, span) in path.iter().enumerate() {
            let next = path.get(n + 1);
            b.span(span, next);
            if next.is_none_or(|next| !next.joined) {
                b.finish();
            }
            b.notes(&self.notes, Some(span.node));
        }
        let Builder { items, origins, .. } = b;
        self.transcript.replace(items);
        self.origins = origins;
        (self.cursor, self.anchor) = (None, None);
        self.search();
    }

    /// Everything goes.
    pub fn clear(&mut self) {
        let colour = self.colour;
        self.transcript.clear();
        let transcript = std::mem::take(&mut self.transcript);
        *self = View { transcript, colour, ..View::default() };
    }

    /// The program says something, which stands behind the head.
    pub fn note(&mut self, tree: &Tree, voice: Voice, text: &str) {
        let behind = tree.head().map(|p| p.node);
        self.notes.push(Note { behind, voice, text: text.to_owned() });
        self.transcript.push(Item::new(voice, "", text));
        self.origins.push(Origin::default());
        self.found.push(Vec::new());
    }

    /// A message that waits for the model; it is not in the tree yet.
    pub fn waiting(&mut self, text: &str) {
        let mut item = Item::new(Voice::You, "you", text);
        item.foot = "waits for the model".into();
        self.transcript.push(item);
        self.origins.push(Origin::default());
    }

    /// A reply's token came.
    pub fn push(&mut self, text: &str) {
        if let Some(item) = self.transcript.last_mut() {
            item.push_token(text);
        }
    }

    /// Knobs were turned where the reply ends now.
    pub fn mark(&mut self, aside: Vec<String>) {
        if let Some(item) = self.transcript.last_mut() {
            item.mark();
            item.aside = aside;
        }
    }

    /// The reply stopped, with text that was held back.
    pub fn end(&mut self, tail: &str, foot: String) {
        self.transcript.live = false;
        if let Some(item) = self.transcript.last_mut() {
            item.push(tail);
            item.foot = foot;
            item.render();
        }
        self.search();
    }

    /// Whether the last text is a reply.
    pub fn is_replied(&self) -> bool {
        self.transcript.items().iter().any(|i| i.voice == Voice::Model)
    }

    /// The place before a token that is pointed at.
    pub fn place(&self, item: usize, token: usize) -> Option<Place> {
        let parts = &self.origins.get(item)?.parts;
        let part = parts[..parts.partition_point(|p| p.first <= token)].last()?;
        Some(Place { node: part.node, at: token - part.first })
    }

    /// The place before the token under the cursor.
    pub fn cursor_place(&self) -> Option<Place> {
        let Cursor { item, token } = self.cursor?;
        self.place(item, token?)
    }

    /// The node of the text under the cursor; of the last message or reply where there is none.
    pub fn node(&self) -> Option<NodeId> {
        match self.cursor {
            Some(c) => self.origins.get(c.item)?.node,
            None => self.origins.iter().rev().find_map(|o| o.node),
        }
    }

    /// The token in front of which a place is.
    pub fn locate(&self, place: Place) -> Option<Cursor> {
        for (item, origin) in self.origins.iter().enumerate().rev() {
            for (n, part) in origin.parts.iter().enumerate() {
                let end = origin
                    .parts
                    .get(n + 1)
                    .map_or_else(|| self.transcript.items()[item].tokens(), |next| next.first);
                let token = part.first + place.at;
                if part.node == place.node && token < end {
                    return Some(Cursor { item, token: Some(token) });
                }
            }
            if origin.node == Some(place.node) && place.at == 0 {
                return Some(Cursor { item, token: None });
            }
        }
        None
    }

    // ---- pointing

    fn tokens(&self, item: usize) -> usize {
        self.transcript.items().get(item).map_or(0, Item::tokens)
    }

    /// Points at something, and brings it into view.
    pub fn point(&mut self, item: usize, token: Option<usize>) {
        self.cursor = Some(Cursor { item, token });
        self.transcript.reveal(match token {
            Some(token) => Spot::Token(item, token),
            None => Spot::Byte(item, 0),
        });
    }

    /// The cursor `steps` tokens on, over texts; to the last token where there was none.
    pub fn step(&mut self, steps: isize) {
        let Some(Cursor { item, token }) = self.cursor else {
            let last = (0..self.origins.len()).rev().find(|i| self.tokens(*i) > 0);
            if let Some(item) = last {
                self.point(item, Some(self.tokens(item) - 1));
            }
            return;
        };
        let (mut item, mut at) = (item, token.map(|t| t as isize));
        let mut left = steps;
        while left != 0 {
            let way = left.signum();
            let next = match at {
                Some(t) => t + way,
                // From a text without tokens to the next one, or the one before.
                None if way > 0 => self.tokens(item) as isize,
                None => -1,
            };
            if next >= 0 && next < self.tokens(item) as isize {
                at = Some(next);
            } else {
                let mut other = item as isize + way;
                while other >= 0
                    && (other as usize) < self.origins.len()
                    && self.tokens(other as usize) == 0
                {
                    other += way;
                }
                if other < 0 || other as usize >= self.origins.len() {
                    break;
                }
                item = other as usize;
                at = Some(if way > 0 { 0 } else { self.tokens(item) as isize - 1 });
            }
            // A token that is only a part of a character has no cell to point at.
            let seen = at.and_then(|t| self.transcript.items()[item].token(t as usize));
            if seen.is_some_and(|r| !r.is_empty()) {
                left -= way;
            }
        }
        self.point(item, at.map(|t| t as usize));
    }

    /// The cursor a line up or down, into the neighbouring text where there is none.
    pub fn line(&mut self, down: bool) {
        let Some(Cursor { item, token: Some(token) }) = self.cursor else {
            return self.message(if down { 1 } else { -1 });
        };
        match self.transcript.vertical(item, token, down) {
            Some(token) => self.point(item, Some(token)),
            None => self.message(if down { 1 } else { -1 }),
        }
    }

    /// The cursor to the next message or the one before.
    pub fn message(&mut self, way: isize) {
        let spoken = |i: &usize| self.origins[*i].node.is_some();
        let all: Vec<usize> = (0..self.origins.len()).filter(spoken).collect();
        let to = match self.cursor {
            None => all.last().copied(),
            Some(c) if way < 0 => all.iter().rev().find(|i| **i < c.item).copied(),
            Some(c) => all.iter().find(|i| **i > c.item).copied(),
        };
        let Some(item) = to else { return };
        let tokens = self.tokens(item);
        let token = if way < 0 { tokens.checked_sub(1) } else { (tokens > 0).then_some(0) };
        self.point(item, token);
    }

    /// The tokens that are selected: of one text, first and last.
    pub fn selected(&self) -> Option<(usize, Range<usize>)> {
        let (item, from) = self.anchor?;
        let cursor = self.cursor.filter(|c| c.item == item)?;
        let to = cursor.token?;
        Some((item, from.min(to)..from.max(to) + 1))
    }

    /// The text to be copied: what is selected, else the text under the cursor, else the last.
    pub fn copied(&self) -> Option<String> {
        let items = self.transcript.items();
        if let Some((item, range)) = self.selected() {
            let item = items.get(item)?;
            let (from, to) = (item.token(range.start)?.start, item.token(range.end - 1)?.end);
            return item.shown().get(from..to).map(|t| t.replace(MARK, "").replace(FORK, ""));
        }
        let item = match self.cursor {
            Some(c) => items.get(c.item)?,
            None => items.iter().rev().find(|i| matches!(i.voice, Voice::You | Voice::Model))?,
        };
        Some(item.raw().to_owned())
    }

    // ---- searching

    /// Looks for the query again, in all texts; case is nothing.
    pub fn search(&mut self) {
        self.found.clear();
        self.found.resize(self.transcript.items().len(), Vec::new());
        if self.query.is_empty() {
            return;
        }
        let query = self.query.to_lowercase();
        let mut left = MOST_FOUND;
        for (item, found) in self.transcript.items().iter().zip(&mut self.found).rev() {
            // Lower case may have another length: then only what is the same is found.
            let lower = item.shown().to_lowercase();
            let text = if lower.len() == item.shown().len() { &lower } else { item.shown() };
            for (at, hit) in text.match_indices(&query).take(left) {
                let range = at..at + hit.len();
                if item.shown().get(range.clone()).is_some() {
                    found.push(range);
                }
            }
            left -= found.len().min(left);
        }
    }

    /// How many places were found.
    pub fn hits(&self) -> usize {
        self.found.iter().map(Vec::len).sum()
    }

    /// The next place that was found, or the one before, from the cursor on; tells which one of
    /// how many it is.
    pub fn next_hit(&mut self, down: bool) -> Option<usize> {
        let all: Vec<(usize, usize)> = (self.found.iter().enumerate())
            .flat_map(|(item, found)| found.iter().map(move |r| (item, r.start)))
            .collect();
        let here = self.cursor.map(|c| {
            let item = self.transcript.items().get(c.item);
            let byte = c.token.and_then(|t| Some(item?.token(t)?.start));
            (c.item, byte.unwrap_or(0))
        });
        let at = match (here, down) {
            (None, _) => all.len().checked_sub(1)?,
            (Some(here), true) => all.iter().position(|h| *h > here).unwrap_or(0),
            (Some(here), false) => {
                all.iter().rposition(|h| *h < here).unwrap_or(all.len().checked_sub(1)?)
            }
        };
        let (item, byte) = *all.get(at)?;
        let token = self.transcript.items()[item].token_at(byte);
        self.cursor = Some(Cursor { item, token });
        self.transcript.reveal(Spot::Byte(item, byte));
        Some(at)
    }

    // ---- drawing

    /// Draws the texts. `pointing` shows the cursor.
    pub fn draw(
        &mut self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
        wait: &str,
        tree: &Tree,
        pointing: bool,
    ) {
        let selected = self.selected();
        let View { transcript, origins, found, cursor, colour, .. } = self;
        let cursor = cursor.filter(|_| pointing);
        let looks = Looks { origins, found, cursor, selected, colour: *colour, tree, theme };
        transcript.draw(area, buf, theme, wait, &looks);
    }
}

/// How tokens look.
struct Looks<'a> {
    origins: &'a [Origin],
    found: &'a [Vec<Range<usize>>],
    cursor: Option<Cursor>,
    selected: Option<(usize, Range<usize>)>,
    colour: Colour,
    tree: &'a Tree,
    theme: &'a Theme,
}

impl Paint for Looks<'_> {
    fn token(&self, item: usize, token: usize) -> Option<Style> {
        let style = |role| self.theme.style(role);
        if self.cursor == Some(Cursor { item, token: Some(token) }) {
            return Some(style(Role::Cursor));
        }
        if self.selected.as_ref().is_some_and(|(i, r)| *i == item && r.contains(&token)) {
            return Some(style(Role::Selected));
        }
        if self.colour == Colour::Off {
            return None;
        }
        let parts = &self.origins.get(item)?.parts;
        let part = parts[..parts.partition_point(|p| p.first <= token)].last()?;
        let record = self.tree.reply(part.node)?.tokens.get(token - part.first)?;
        let chosen = if record.forced { Modifier::ITALIC } else { Modifier::empty() };
        self.colour.role(record).map(|role| style(role).add_modifier(chosen))
    }

    fn plain(&self, item: usize) -> bool {
        self.colour != Colour::Off
            || self.cursor.is_some_and(|c| c.item == item)
            || !self.found(item).is_empty()
    }

    fn found(&self, item: usize) -> &[Range<usize>] {
        self.found.get(item).map_or(&[], Vec::as_slice)
    }
}

/// Makes texts of a path.
struct Builder<'a> {
    tree: &'a Tree,
    name: &'a str,
    /// Nodes behind each place.
    kids: HashMap<Option<Place>, Vec<NodeId>>,
    items: Vec<Item>,
    origins: Vec<Origin>,
}

impl Builder<'_> {
    fn notes(&mut self, notes: &[Note], behind: Option<NodeId>) {
        for note in notes.iter().filter(|n| n.behind == behind) {
            self.items.push(Item::new(note.voice, "", &note.text));
            self.origins.push(Origin::default());
        }
    }

    /// `⎇ 2/3` where there are other versions of a node.
    fn version(&self, node: NodeId) -> Option<String> {
        let parent = self.tree.node(node)?.parent;
        let all = self.kids.get(&parent).filter(|k| k.len() > 1)?;
        let at = all.iter().position(|k| *k == node)?;
        Some(format!("{FORK} {}/{}", at + 1, all.len()))
    }

    fn span(&mut self, span: &Span, next: Option<&Span>) {
        let origin = Origin { node: Some(span.node), parts: Vec::new() };
        match self.tree.node(span.node).map(|n| &n.body) {
            Some(Body::Message(text)) => {
                let mut item = Item::new(Voice::You, "you", text);
                item.aside.extend(self.version(span.node));
                self.items.push(item);
                self.origins.push(origin);
            }
            Some(Body::Reply(reply)) => {
                if !span.joined {
                    let mut item = Item::new(Voice::Model, self.name, "");
                    item.aside = knobs::summary(&reply.params, &reply.params, reply.params.seed);
                    item.aside.extend(self.version(span.node));
                    self.items.push(item);
                    self.origins.push(origin);
                }
                self.reply(span, reply, next);
            }
            None => {}
        }
    }

    fn reply(&mut self, span: &Span, reply: &Reply, next: Option<&Span>) {
        let (Some(item), Some(origin)) = (self.items.last_mut(), self.origins.last_mut()) else {
            return;
        };
        let (node, len) = (span.node, span.len.min(reply.tokens.len()));
        let parent = self.tree.node(node).and_then(|n| n.parent);
        if let (true, Some(parent)) = (span.joined, parent)
            && self.tree.params_at(parent) != Some(&reply.params)
        {
            item.mark();
        }
        origin.parts.push(Part { node, first: item.tokens() });
        item.push(&reply.lead);
        for (at, token) in reply.tokens[..len].iter().enumerate() {
            if at > 0 && reply.knobs.iter().any(|(k, _)| *k == at) {
                item.mark();
            }
            if at > 0 && self.kids.contains_key(&Some(Place { node, at })) {
                item.sign(FORK);
            }
            item.push_token(&token.text);
        }
        if reply.knobs.iter().any(|(k, _)| *k == len && len > 0) {
            item.mark();
        }
        let here = self.kids.get(&Some(Place { node, at: len })).map_or(0, Vec::len);
        let on = usize::from(next.is_some());
        if len > 0 && (here > on || len < reply.tokens.len()) {
            item.sign(FORK);
        }
        let start = origin.node.and_then(|n| self.tree.reply(n)).map(|r| &r.params);
        let now = self.tree.params_at(Place { node, at: len });
        if let (Some(start), Some(now)) = (start, now) {
            let version = item.aside.iter().find(|a| a.starts_with(FORK)).cloned();
            item.aside = knobs::summary(start, now, now.seed);
            item.aside.extend(version);
        }
        if next.is_none_or(|n| !n.joined)
            && let Some(end) = self.tree.end_at(Place { node, at: len })
        {
            item.push(&end.tail);
            item.foot = reply::foot(end.stop, end.stats.decode_tokens);
        }
    }

    fn finish(&mut self) {
        if let Some(item) = self.items.last_mut().filter(|i| i.voice == Voice::Model) {
            item.render();
        }
    }
}
