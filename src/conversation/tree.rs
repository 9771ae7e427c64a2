//! A conversation as a tree. A node is a message of the person or a stretch of reply; its parent is
//! a place in another node, so that a branch can begin behind any token. Nothing is ever removed:
//! going back moves the head, and going on from there grows a new node.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::chat::{Role, Turn};
use crate::engine::sampler::{Cut, Params, Rng};
use crate::engine::session::{Piece, Stats, Stop};
use crate::engine::tokenizer::Token;

/// A node's place in [`Tree::nodes`].
pub type NodeId = usize;

/// A place in a conversation: behind the first `at` tokens of a node. Messages have no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// How many of its tokens stand before.
    pub at: usize,
}

/// A token that could have been.
#[derive(Clone, Debug, PartialEq)]
pub struct Rival {
    /// Its id.
    pub id: Token,
    /// Its text by itself.
    pub text: Arc<str>,
    /// Natural logarithm of its probability before any knob.
    pub logprob: f32,
    /// Its probability after all knobs.
    pub p_final: f32,
    /// The stage that cut it.
    pub cut: Option<Cut>,
}

/// A token that was made, with all that is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its id.
    pub id: Token,
    /// Text that became whole with it.
    pub text: Arc<str>,
    /// Natural logarithm of its probability before any knob, if that was told.
    pub logprob: Option<f32>,
    /// Its probability after all knobs.
    pub p_final: f32,
    /// How many tokens were more probable, if that was told.
    pub rank: Option<u32>,
    /// Entropy of the distribution before any knob in bits, if that was told.
    pub entropy: Option<f32>,
    /// Survivors of all knobs.
    pub kept: u32,
    /// Probability that they held together before any knob, if that was told.
    pub kept_mass: Option<f32>,
    /// State of the random numbers after it.
    pub rng: u64,
    /// Seconds that it took.
    pub secs: f32,
    /// Whether somebody chose it, and not the sampler.
    pub forced: bool,
    /// The most probable tokens in its place, best first.
    pub top: Box<[Rival]>,
}

impl Record {
    /// Its probability before any knob.
    pub fn p(&self) -> Option<f32> {
        self.logprob.map(f32::exp)
    }
}

/// How a reply stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Why.
    pub stop: Stop,
    /// Text that was held back until then; gone when the reply goes on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tail: String,
    /// Counts and times since it last went on.
    pub stats: Stats,
}

/// A stretch of reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// What the person wrote for the model to go on with; only where no reply stands before.
    pub lead: String,
    /// The context before its first token, where no reply stands before; told by the engine.
    pub prompt: Vec<Token>,
    /// Knobs at its beginning.
    pub params: Params,
    /// State of the random numbers at its beginning.
    pub rng: u64,
    /// Its tokens.
    pub tokens: Vec<Record>,
    /// Knobs turned, each with the number of tokens before.
    pub knobs: Vec<(usize, Params)>,
    /// How it stopped last; `None` while it grows.
    pub end: Option<End>,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// The person's words.
    Message(String),
    /// The model's.
    Reply(Box<Reply>),
}

/// A node and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Behind what it stands; `None` at the very beginning.
    pub parent: Option<Place>,
    /// What it holds.
    pub body: Body,
}

/// A node on a path, and how many of its tokens belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The node.
    pub node: NodeId,
    /// Its first so many tokens.
    pub len: usize,
    /// Whether it continues the reply of the span before.
    pub joined: bool,
}

/// A conversation.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Where one is.
    head: Option<Place>,
    /// Texts seen, so that each is held once.
    texts: HashMap<Box<str>, Arc<str>>,
}

impl Tree {
    /// All nodes, oldest first: a parent stands before its children.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Where one is; `None` at the very beginning.
    pub fn head(&self) -> Option<Place> {
        self.head
    }

    /// The node, if there is one.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// The node's reply, if it is one.
    pub fn reply(&self, id: NodeId) -> Option<&Reply> {
        match &self.nodes.get(id)?.body {
            Body::Reply(reply) => Some(reply),
            Body::Message(_) => None,
        }
    }

    /// [`Tree::reply`], to be changed.
    pub fn reply_mut(&mut self, id: NodeId) -> Option<&mut Reply> {
        match &mut self.nodes.get_mut(id)?.body {
            Body::Reply(reply) => Some(reply),
            Body::Message(_) => None,
        }
    }

    /// Tokens of a node; messages have none.
    pub fn len_of(&self, id: NodeId) -> usize {
        self.reply(id).map_or(0, |r| r.tokens.len())
    }

    /// Whether a place is one of this tree's.
    pub fn holds(&self, place: Place) -> bool {
        place.node < self.nodes.len() && place.at <= self.len_of(place.node)
    }

    /// Moves the head. A place that the tree does not have is ignored.
    pub fn go(&mut self, place: Option<Place>) {
        if place.is_none_or(|p| self.holds(p)) {
            self.head = place;
        }
    }

    /// Adds a node behind `parent` and moves the head to it. The parent must be a place of the
    /// tree, else nothing is added.
    pub fn add(&mut self, parent: Option<Place>, body: Body) -> Option<NodeId> {
        if parent.is_some_and(|p| !self.holds(p)) {
            return None;
        }
        let node = self.nodes.len();
        let at = if let Body::Reply(r) = &body { r.tokens.len() } else { 0 };
        self.nodes.push(Node { parent, body });
        self.head = Some(Place { node, at });
        Some(node)
    }

    /// The text, held once.
    pub fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.texts.insert(text.into(), Arc::clone(&new));
        new
    }

    /// What the engine told of a token, to be kept.
    pub fn record(&mut self, piece: &Piece) -> Record {
        let choice = &piece.choice;
        let rivals = choice.top.iter().zip(&piece.top_text);
        let top = rivals
            .map(|(c, text)| Rival {
                id: c.id,
                text: self.intern(text),
                logprob: c.logprob,
                p_final: c.p_final,
                cut: c.cut,
            })
            .collect();
        Record {
            id: choice.id,
            text: self.intern(&piece.text),
            logprob: choice.logprob,
            p_final: choice.p_final,
            rank: choice.rank.map(|r| u32::try_from(r).unwrap_or(u32::MAX)),
            entropy: choice.entropy,
            kept: u32::try_from(choice.kept).unwrap_or(u32::MAX),
            kept_mass: choice.kept_mass,
            rng: piece.rng,
            secs: piece.secs,
            forced: piece.forced,
            top,
        }
    }

    /// Appends a token to a reply; the head follows where it stood at the reply's end.
    pub fn push(&mut self, node: NodeId, record: Record) -> bool {
        let Some(reply) = self.reply_mut(node) else { return false };
        let at = reply.tokens.len();
        reply.tokens.push(record);
        reply.end = None;
        if self.head == Some(Place { node, at }) {
            self.head = Some(Place { node, at: at + 1 });
        }
        true
    }

    /// The nodes from the beginning to a place, each with as many tokens as belong to the way.
    pub fn path(&self, place: Option<Place>) -> Vec<Span> {
        let mut out = Vec::new();
        let mut next = place;
        while let Some(Place { node, at }) = next {
            let Some(n) = self.nodes.get(node) else { break };
            out.push(Span { node, len: at, joined: self.joins(node) });
            next = n.parent;
        }
        out.reverse();
        out
    }

    /// Whether a node continues its parent's reply.
    pub fn joins(&self, node: NodeId) -> bool {
        let parent = self.nodes.get(node).and_then(|n| n.parent);
        self.reply(node).is_some() && parent.is_some_and(|p| self.reply(p.node).is_some())
    }

    /// Nodes that begin behind a place.
    pub fn children(&self, place: Option<Place>) -> impl Iterator<Item = NodeId> + '_ {
        let begin_there = move |(_, n): &(usize, &Node)| n.parent == place;
        self.nodes.iter().enumerate().filter(begin_there).map(|(id, _)| id)
    }

    /// The text of a reply up to a place in it: what the person wrote for it, its tokens, and what
    /// was held back where it stopped.
    pub fn reply_text(&self, place: Place) -> String {
        let path = self.path(Some(place));
        let start = path.iter().rposition(|s| !s.joined).unwrap_or(0);
        let mut out = String::new();
        for span in &path[start..] {
            let Some(reply) = self.reply(span.node) else { continue };
            out.push_str(&reply.lead);
            reply.tokens[..span.len.min(reply.tokens.len())]
                .iter()
                .for_each(|t| out.push_str(&t.text));
        }
        if let Some(end) = self.end_at(place) {
            out.push_str(&end.tail);
        }
        out
    }

    /// How the reply stopped, where a place is its very end.
    pub fn end_at(&self, place: Place) -> Option<&End> {
        let reply = self.reply(place.node)?;
        reply.end.as_ref().filter(|_| place.at == reply.tokens.len())
    }

    /// What was said on the way to a place, as turns of a conversation.
    pub fn turns(&self, place: Option<Place>) -> Vec<Turn> {
        let path = self.path(place);
        let mut out: Vec<Turn> = Vec::new();
        for (n, span) in path.iter().enumerate() {
            // A reply in several stretches is told at its last one.
            if path.get(n + 1).is_some_and(|next| next.joined) {
                continue;
            }
            let (role, content) = match self.nodes.get(span.node).map(|n| &n.body) {
                Some(Body::Message(text)) => (Role::User, text.clone()),
                Some(Body::Reply(_)) => {
                    let place = Place { node: span.node, at: span.len };
                    (Role::Assistant, self.reply_text(place))
                }
                None => continue,
            };
            out.push(Turn { role, content });
        }
        out
    }

    /// The context at a place in a reply, and how many of its tokens are prompt. `None` where the
    /// place is not in a reply, or the engine never told its prompt.
    pub fn context(&self, place: Place) -> Option<(Vec<Token>, usize)> {
        self.reply(place.node)?;
        let path = self.path(Some(place));
        let start = path.iter().rposition(|s| !s.joined)?;
        let mut tokens = self.reply(path[start].node)?.prompt.clone();
        let prompt = tokens.len();
        if prompt == 0 {
            return None;
        }
        for span in &path[start..] {
            let made = &self.reply(span.node)?.tokens;
            tokens.extend(made[..span.len.min(made.len())].iter().map(|t| t.id));
        }
        Some((tokens, prompt))
    }

    /// The context of the nearest reply on the way to a place, whole: what the engine most
    /// probably holds, and what a prompt is told apart from.
    pub fn context_before(&self, place: Option<Place>) -> Vec<Token> {
        let path = self.path(place);
        let last = path.iter().rev().find_map(|s| {
            self.context(Place { node: s.node, at: s.len }).map(|(tokens, _)| tokens)
        });
        last.unwrap_or_default()
    }

    /// State of the random numbers before the token behind a place: with it, what was drawn there
    /// is drawn again.
    pub fn rng_at(&self, place: Place) -> Option<u64> {
        let reply = self.reply(place.node)?;
        let mut state = match place.at.checked_sub(1) {
            None => reply.rng,
            Some(before) => reply.tokens.get(before)?.rng,
        };
        // A seed that was turned to just here started them again.
        let mut seed = self.seed_before(place);
        for (_, params) in reply.knobs.iter().filter(|(at, _)| *at == place.at && *at > 0) {
            if params.seed != seed {
                (seed, state) = (params.seed, Rng::new(params.seed).state());
            }
        }
        Some(state)
    }

    fn seed_before(&self, place: Place) -> u64 {
        let Some(reply) = self.reply(place.node) else { return 0 };
        let earlier = reply.knobs.iter().rev().find(|(at, _)| *at < place.at);
        earlier.map_or(reply.params.seed, |(_, params)| params.seed)
    }

    /// The knobs that a place's next token was, or would be, drawn with.
    pub fn params_at(&self, place: Place) -> Option<&Params> {
        let reply = self.reply(place.node)?;
        let last = reply.knobs.iter().rev().find(|(at, _)| *at <= place.at);
        Some(last.map_or(&reply.params, |(_, params)| params))
    }

    /// Which nodes hold nothing: replies without a word, and messages to which there is none; but
    /// for those on the way to the head.
    pub fn blanks(&self) -> Vec<bool> {
        let mut full = vec![false; self.nodes.len()];
        self.path(self.head).iter().for_each(|s| full[s.node] = true);
        // Parents stand before their children.
        for (id, node) in self.nodes.iter().enumerate().rev() {
            full[id] |= self
                .reply(id)
                .is_some_and(|r| !r.tokens.is_empty() || !r.lead.is_empty() || r.end.is_none());
            if let (true, Some(parent)) = (full[id], node.parent) {
                full[parent.node] = true;
            }
        }
        full.iter().map(|f| !f).collect()
    }

    /// The ends of all branches, oldest first: places behind which nothing was said.
    pub fn leaves(&self) -> Vec<Place> {
        let end = |node| Place { node, at: self.len_of(node) };
        let mut taken = vec![false; self.nodes.len()];
        for parent in self.nodes.iter().filter_map(|n| n.parent) {
            if parent == end(parent.node) {
                taken[parent.node] = true;
            }
        }
        (0..self.nodes.len()).filter(|n| !taken[*n]).map(end).collect()
    }

    /// The place where the way to `a` leaves the way to `b`; `None` where they part at the very
    /// beginning.
    pub fn fork(&self, a: Place, b: Place) -> Option<Place> {
        let (a, b) = (self.path(Some(a)), self.path(Some(b)));
        let mut last = None;
        for (x, y) in a.iter().zip(&b) {
            if x.node != y.node {
                break;
            }
            last = Some(Place { node: x.node, at: x.len.min(y.len) });
            if x.len != y.len {
                break;
            }
        }
        last
    }

    /// All tokens on the way to a place, each with its node and index there.
    pub fn tokens_on(&self, path: &[Span]) -> usize {
        path.iter().map(|s| s.len).sum()
    }
}
