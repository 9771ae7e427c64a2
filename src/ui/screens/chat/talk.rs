//! What is done to a conversation: said, gone on with, gone back in, told another way.

use super::{Chat, Phase};
use crate::conversation::file::{Header, ModelId, NINE};
use crate::conversation::{Body, Line, NodeId, Place, Reply};
use crate::engine::chat::{Role, Turn};
use crate::engine::sampler::Rng;
use crate::engine::service::{Command, Prompt};
use crate::engine::session::Stop;
use crate::engine::tokenizer::Token;
use crate::ui::keymap::Focus;
use crate::ui::msg::{Action, Effect, Keep};
use crate::ui::widgets::transcript::Voice;

/// How a reply goes on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct How {
    /// With this token, whatever the sampler would take.
    pub pick: Option<Token>,
    /// With other random numbers.
    pub fresh: bool,
    /// For so many tokens; 0 until it ends.
    pub max: usize,
}

impl Chat {
    /// Writes a line of the conversation's file; the first one begins it.
    pub(super) fn keep(&mut self, line: Line, out: &mut Vec<Effect>) {
        if !self.begun {
            self.begun = true;
            out.push(Effect::Keep(Keep::Begin(Box::new(self.header()))));
        }
        out.push(Effect::Keep(Keep::Line(Box::new(line))));
    }

    fn header(&self) -> Header {
        let (setup, source) = (&self.start.setup, &self.start.source);
        Header {
            nine: NINE,
            version: env!("CARGO_PKG_VERSION").into(),
            created: String::new(),
            model: self.opened.as_ref().map(|o| ModelId::of(&o.card)).unwrap_or_default(),
            system: self.start.system.clone(),
            n_ctx: self.opened.as_ref().map_or(0, |o| o.n_ctx),
            kv: setup.kv,
            stop: setup.stop.clone(),
            top: super::top(setup),
            exact: self.start.exact,
            tokenizer: source.tokenizer.as_ref().map(|p| p.display().to_string()),
            pre: source.pre.clone(),
        }
    }

    fn add(&mut self, parent: Option<Place>, body: Body, out: &mut Vec<Effect>) -> Option<NodeId> {
        let node = self.tree.add(parent, body)?;
        if let Some(line) = Line::node(&self.tree, node) {
            self.keep(line, out);
        }
        self.redo.clear();
        Some(node)
    }

    /// To another place of the tree.
    pub(super) fn go(&mut self, place: Option<Place>, out: &mut Vec<Effect>) {
        self.tree.go(place);
        self.keep(Line::Head { place: self.tree.head() }, out);
        self.rebuild();
        self.transcript().follow();
    }

    /// Says something behind the head, and asks for a reply.
    pub(super) fn say(&mut self, text: String, out: &mut Vec<Effect>) {
        let mut head = self.tree.head();
        if let Some(edited) = self.editing.take() {
            let node = self.tree.node(edited);
            let parent = node.and_then(|n| n.parent);
            if let Some(Body::Reply(_)) = node.map(|n| &n.body) {
                return self.ask(parent, text, 0, out);
            }
            head = parent;
        }
        if !text.is_empty() {
            let Some(node) = self.add(head, Body::Message(text), out) else { return };
            head = Some(Place { node, at: 0 });
        } else if let Some(place) = head.filter(|p| self.tree.reply(p.node).is_some()) {
            return self.go_on(place, How { max: self.knobs.max(), ..How::default() }, out);
        }
        self.ask(head, String::new(), 0, out);
    }

    /// The seed of a reply: the one that is set, or another one.
    fn seed(&mut self) -> u64 {
        match self.knobs.params().seed {
            0 => super::next_seed(&mut self.start.entropy),
            seed => seed,
        }
    }

    /// Asks for a reply behind a place, which begins with `lead`. `max` 0 is what the knob says.
    pub(super) fn ask(
        &mut self,
        parent: Option<Place>,
        lead: String,
        max: usize,
        out: &mut Vec<Effect>,
    ) {
        let seed = self.seed();
        let mut params = self.knobs.params().clone();
        params.seed = seed;
        self.knobs.begin(seed);
        let mut turns = self.tree.turns(parent);
        if !lead.is_empty() {
            turns.push(Turn { role: Role::Assistant, content: lead.clone() });
        }
        let prompt = if self.is_completion() {
            Prompt::Text(turns.into_iter().map(|t| t.content).collect())
        } else {
            if let Some(system) = &self.start.system {
                turns.insert(0, Turn { role: Role::System, content: system.clone() });
            }
            Prompt::Chat(turns)
        };
        let reply = Reply {
            lead,
            prompt: Vec::new(),
            params: params.clone(),
            rng: Rng::new(seed).state(),
            tokens: Vec::new(),
            knobs: Vec::new(),
            end: None,
        };
        let Some(node) = self.add(parent, Body::Reply(Box::new(reply)), out) else { return };
        self.begin(node, seed, false);
        let id = self.start.id;
        let max = if max == 0 { self.knobs.max() } else { max };
        self.configuring += 1;
        out.push(Effect::Engine(Command::Configure { id, params }));
        out.push(Effect::Engine(Command::Prompt { id, prompt, max }));
    }

    /// A reply grows from now on.
    fn begin(&mut self, node: NodeId, seed: u64, same: bool) {
        if same {
            self.reply.again();
        } else {
            self.reply = super::reply::Reply::new(seed);
        }
        self.held = None;
        self.growing = Some(node);
        self.phase = Phase::Busy { stopping: None };
        self.rebuild();
        self.transcript().live = true;
        self.transcript().follow();
    }

    /// Goes on with a reply from a place in it. Nothing before the place is run again.
    pub(super) fn go_on(&mut self, place: Place, how: How, out: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Idle) {
            return self.flash_busy();
        }
        let Some((tokens, reply)) = self.tree.context(place) else {
            // What the engine read was never told: the words are asked for again.
            return self.ask(Some(place), String::new(), how.max, out);
        };
        let mut params = self.knobs.params().clone();
        let then = self.tree.params_at(place).cloned().unwrap_or_default();
        if params.seed == 0 {
            let fresh = how.fresh.then(|| super::next_seed(&mut self.start.entropy));
            params.seed = fresh.unwrap_or(then.seed);
        }
        let end = self.tree.end_at(place).map(|e| e.stop);
        let stretch = matches!(end, Some(Stop::Cancelled | Stop::Length | Stop::Context));
        let same = stretch && how.pick.is_none() && !how.fresh;
        let (node, rng) = if same {
            if params != then
                && let Some(r) = self.tree.reply_mut(place.node)
            {
                r.knobs.push((place.at, params.clone()));
                self.keep(Line::knobs(place.node, place.at, &params), out);
            }
            if let Some(r) = self.tree.reply_mut(place.node) {
                r.end = None;
            }
            if self.tree.head() != Some(place) {
                self.go(Some(place), out);
            }
            (place.node, self.tree.rng_at(place))
        } else {
            let anew = how.fresh || params.seed != then.seed;
            let rng = match self.tree.rng_at(place).filter(|_| !anew) {
                Some(state) => state,
                None => Rng::new(params.seed).state(),
            };
            let body = Reply {
                lead: String::new(),
                prompt: Vec::new(),
                params: params.clone(),
                rng,
                tokens: Vec::new(),
                knobs: Vec::new(),
                end: None,
            };
            let Some(node) = self.add(Some(place), Body::Reply(Box::new(body)), out) else {
                return;
            };
            (node, Some(rng))
        };
        self.knobs.begin(params.seed);
        self.begin(node, params.seed, same);
        let (id, pos, max) = (self.start.id, tokens.len(), how.max);
        self.configuring += 1;
        out.push(Effect::Engine(Command::Configure { id, params }));
        out.push(Effect::Engine(Command::Restore { id, tokens, reply }));
        out.push(Effect::Engine(match how.pick {
            Some(token) => Command::Take { id, pos, token, max, rng },
            None => Command::Continue { id, max, rng },
        }));
    }

    fn flash_busy(&mut self) {
        let stop = self.keys.key_for(Action::Interrupt);
        self.flash(format!("a reply is being made; {stop} stops it"));
    }

    /// Whether the conversation may change now; says so where not.
    pub(super) fn is_free(&mut self) -> bool {
        match self.phase {
            Phase::Idle => true,
            Phase::Busy { .. } => {
                self.flash_busy();
                false
            }
            _ => false,
        }
    }

    /// The first node of the reply that a node belongs to.
    fn chain(&self, mut node: NodeId) -> NodeId {
        while self.tree.joins(node) {
            match self.tree.node(node).and_then(|n| n.parent) {
                Some(parent) => node = parent.node,
                None => break,
            }
        }
        node
    }

    /// Makes the reply again: all of it, or from the token under the cursor on.
    pub(super) fn regenerate(&mut self, out: &mut Vec<Effect>) {
        if !self.is_free() {
            return;
        }
        if let Some(place) = self.view.cursor_place().filter(|_| self.focus != Focus::Composer) {
            if place.at > 0 || self.tree.joins(place.node) {
                let how = How { fresh: true, max: self.knobs.max(), ..How::default() };
                return self.go_on(place, how, out);
            }
            let parent = self.tree.node(place.node).and_then(|n| n.parent);
            return self.ask(parent, String::new(), 0, out);
        }
        let Some(head) = self.tree.head() else { return };
        let Some(reply) = self.tree.reply(self.chain(head.node)) else {
            // A message without a reply is answered.
            return self.ask(Some(head), String::new(), 0, out);
        };
        let lead = reply.lead.clone();
        let parent = self.tree.node(self.chain(head.node)).and_then(|n| n.parent);
        self.ask(parent, lead, 0, out);
    }

    /// The place behind the token under the cursor; the head where nothing is pointed at.
    fn behind(&self) -> Option<Place> {
        match self.view.cursor_place() {
            Some(p) => Some(Place { at: p.at + 1, ..p }),
            None => self.tree.head(),
        }
    }

    /// Goes on from the cursor, or from the end.
    pub(super) fn continue_here(&mut self, max: usize, out: &mut Vec<Effect>) {
        if !self.is_free() {
            return;
        }
        match self.behind() {
            Some(p) if self.tree.reply(p.node).is_some() => {
                self.go_on(p, How { max, ..How::default() }, out);
            }
            Some(p) => self.ask(Some(p), String::new(), max, out),
            None => {}
        }
    }

    /// Makes the head the place behind the cursor's token; what comes then is a branch.
    pub(super) fn branch(&mut self, out: &mut Vec<Effect>) {
        let Some(place) = self.view.cursor_place() else {
            return self.flash("point at a token first: ← →");
        };
        if self.is_free() {
            self.move_head(Some(Place { at: place.at + 1, ..place }), out);
            let go = self.keys.key_for(Action::Continue);
            self.flash(format!("here; {go} goes on, or write a message"));
        }
    }

    /// To another place, which can be taken back.
    pub(super) fn move_head(&mut self, place: Option<Place>, out: &mut Vec<Effect>) {
        let before = self.tree.head();
        if place == before {
            return;
        }
        self.go(place, out);
        self.redo.push(before);
    }

    /// Back by a token, or to behind the cursor's.
    pub(super) fn rewind(&mut self, out: &mut Vec<Effect>) {
        if !self.is_free() {
            return;
        }
        let Some(head) = self.tree.head() else { return };
        let cursor = self.view.cursor_place().map(|p| Place { at: p.at + 1, ..p });
        let to = match cursor.filter(|p| *p != head) {
            Some(place) => Some(place),
            None if head.at > 0 => Some(Place { at: head.at - 1, ..head }),
            None if self.tree.joins(head.node) => {
                let parent = self.tree.node(head.node).and_then(|n| n.parent);
                parent.map(|p| Place { at: p.at.saturating_sub(1), ..p })
            }
            None => {
                let key = self.keys.key_for(Action::RewindTurn);
                return self.flash(format!("the reply begins here; {key} goes back by a message"));
            }
        };
        self.move_head(to, out);
        self.view.step(-1);
    }

    /// Back by a message: to before what was said last by the person.
    pub(super) fn rewind_turn(&mut self, out: &mut Vec<Effect>) {
        if !self.is_free() {
            return;
        }
        let path = self.tree.path(self.tree.head());
        let last = path.iter().rev().find(|s| self.tree.reply(s.node).is_none());
        let Some(span) = last else { return };
        let parent = self.tree.node(span.node).and_then(|n| n.parent);
        self.move_head(parent, out);
    }

    /// Takes the last step back again.
    pub(super) fn redo(&mut self, out: &mut Vec<Effect>) {
        if self.is_free() {
            match self.redo.pop() {
                Some(place) => self.go(place, out),
                None => self.flash("nothing was gone back"),
            }
        }
    }

    /// Holds the reply, or goes on with it.
    pub(super) fn pause(&mut self, out: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::Busy { stopping } => {
                *stopping = Some(self.now);
                self.held = Some(super::Held::Paused);
                out.push(Effect::Cancel(self.start.id));
            }
            Phase::Idle if self.held.is_some() => {
                let max = match self.knobs.max() {
                    0 => 0,
                    max => max.saturating_sub(self.reply.tokens).max(1),
                };
                if let Some(head) = self.tree.head() {
                    self.go_on(head, How { max, ..How::default() }, out);
                }
            }
            _ => {}
        }
    }

    /// Makes one token.
    pub(super) fn step_one(&mut self, out: &mut Vec<Effect>) {
        if self.is_free() {
            self.continue_here(1, out);
            self.held = Some(super::Held::Stepped);
        }
    }

    /// Writes the message under the cursor anew, or the last one of the person.
    pub(super) fn edit(&mut self) {
        if !self.is_free() {
            return;
        }
        let path = self.tree.path(self.tree.head());
        let last = || path.iter().rev().find(|s| self.tree.reply(s.node).is_none()).map(|s| s.node);
        let node = match self.view.cursor {
            Some(_) => self.view.node(),
            None => last(),
        };
        let Some(node) = node else { return };
        let text = match self.tree.node(node).map(|n| &n.body) {
            Some(Body::Message(text)) => text.clone(),
            Some(Body::Reply(_)) => {
                // All of the reply as it is read now.
                let stretch = |s: &&crate::conversation::Span| self.chain(s.node) == node;
                let last = path.iter().rev().find(stretch);
                last.map_or(String::new(), |s| {
                    self.tree.reply_text(Place { node: s.node, at: s.len })
                })
            }
            None => return,
        };
        self.composer.set(&text);
        self.editing = Some(node);
        self.focus = Focus::Composer;
    }

    /// Takes the chosen alternative, and goes on from there.
    pub(super) fn pick(&mut self, out: &mut Vec<Effect>) {
        let Some(place) = self.view.cursor_place() else { return };
        let (Some(record), true) = (self.record_at(place), matches!(self.phase, Phase::Idle))
        else {
            return self.flash_busy();
        };
        let Some(rival) = record.top.get(self.rival) else { return };
        if rival.id == record.id {
            return self.flash("that is the one that was taken");
        }
        let (token, max) = (rival.id, self.knobs.max());
        self.focus = Focus::Transcript;
        self.go_on(place, How { pick: Some(token), max, ..How::default() }, out);
    }

    /// The ends of all branches that hold something: place, last words, where they leave the way
    /// to the head, tokens behind that.
    pub(super) fn branches(&self) -> Vec<(Place, String)> {
        let blank = self.tree.blanks();
        let mut leaves: Vec<Place> =
            self.tree.leaves().into_iter().filter(|p| !blank[p.node]).collect();
        // Where all that follows is blank, the message itself is the end.
        if let Some(head) = self.tree.head().filter(|h| !leaves.contains(h)) {
            leaves.push(head);
        }
        leaves.into_iter().map(|p| (p, self.branch_text(p))).collect()
    }

    fn branch_text(&self, place: Place) -> String {
        let head = self.tree.head();
        let here = if head == Some(place) { "▸ " } else { "  " };
        let text = match self.tree.reply(place.node) {
            Some(_) => self.tree.reply_text(place),
            None => self.tree.turns(Some(place)).pop().map_or(String::new(), |t| t.content),
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let tail = words[words.len().saturating_sub(8)..].join(" ");
        let tokens = self.tree.tokens_on(&self.tree.path(Some(place)));
        let fork = head.and_then(|h| self.tree.fork(place, h)).filter(|_| head != Some(place));
        let fork = fork.map_or(String::new(), |f| {
            let at = self.tree.tokens_on(&self.tree.path(Some(f)));
            format!(" · leaves behind token {at}")
        });
        format!("{here}…{tail} · {tokens} tok{fork}")
    }

    /// The program says something.
    pub(super) fn tell(&mut self, voice: Voice, text: &str) {
        self.view.note(&self.tree, voice, text);
    }
}
