//! What the engine tells, taken note of in the tree, on the screen and in the file.

use std::sync::Arc;

use super::{Chat, Held, Opened, Phase, reply};
use crate::conversation::{Body, End, Line, Place, file};
use crate::engine::Error;
use crate::engine::sampler::Params;
use crate::engine::service::Event;
use crate::engine::session::{Stats, Stop};
use crate::engine::tokenizer::Token;
use crate::ui::keymap::Focus;
use crate::ui::msg::{Action, Effect};
use crate::ui::widgets::knobs;
use crate::ui::widgets::transcript::Voice;

impl Chat {
    fn opened(&mut self, opened: Opened, out: &mut Vec<Effect>) {
        let first = self.opened.is_none();
        self.opened = Some(opened);
        self.phase = Phase::Idle;
        let queued = self.queued.take();
        self.rebuild();
        if first && self.is_completion() {
            self.tell(
                Voice::Note,
                "no chat template: completion mode. What you write is continued as it is.",
            );
            if self.start.system.is_some() {
                let text = "without a template the system prompt has no place: it is not used.";
                self.tell(Voice::Note, text);
            }
        }
        if let Some(text) = queued {
            self.send(text, out);
        }
    }

    fn prompted(&mut self, tokens: &[(Token, String)], out: &mut Vec<Effect>) {
        let Some(node) = self.growing else { return };
        for (id, text) in tokens {
            if !self.texts.contains_key(id) {
                self.texts.insert(*id, text.clone());
            }
        }
        let ids: Vec<Token> = tokens.iter().map(|(id, _)| *id).collect();
        let line = Line::prompt(&self.tree, node, &ids);
        if let Some(reply) = self.tree.reply_mut(node) {
            reply.prompt = ids;
        }
        self.keep(line, out);
    }

    /// Knobs act from here on: marked, and written down.
    /// Knobs that somebody else turned move here too.
    fn moved(&mut self, params: &Params) {
        let before = self.heard.replace(params.clone());
        if self.configuring > 0 {
            self.configuring -= 1;
            return;
        }
        let Some(before) = before else { return };
        let mut params = params.clone();
        if params.seed == before.seed {
            // Theirs is the one that was picked for the last reply.
            params.seed = self.knobs.params().seed;
        }
        self.knobs.set_params(params);
    }

    fn turned(&mut self, params: &Params, out: &mut Vec<Effect>) {
        let Some(node) = self.growing else { return };
        let at = self.tree.len_of(node);
        if self.tree.params_at(Place { node, at }) == Some(params) {
            return;
        }
        let Some(reply) = self.tree.reply_mut(node) else { return };
        reply.knobs.push((at, params.clone()));
        let aside = knobs::summary(&reply.params, params, params.seed);
        self.reply.changes += 1;
        self.view.mark(aside);
        self.keep(Line::knobs(node, at, params), out);
    }

    fn stopped(&mut self, stop: Stop, text: &str, stats: Stats, out: &mut Vec<Effect>) {
        let Some(node) = self.growing.take() else { return };
        let end = End { stop, tail: text.to_owned(), stats };
        if let Some(reply) = self.tree.reply_mut(node) {
            reply.end = Some(end.clone());
        }
        self.keep(Line::End { node, end }, out);
        let go = self.keys.key_for(Action::Pause);
        let foot = match (self.held, stop) {
            (Some(Held::Paused), Stop::Cancelled) => format!("— paused; {go} goes on"),
            (Some(Held::Stepped), Stop::Length) => "— one token".into(),
            _ => {
                self.held = None;
                reply::foot(stop, stats.decode_tokens)
            }
        };
        self.view.end(text, foot);
        self.reply.prefill = None;
        self.reply.ended = Some((stop, stats));
        self.phase = Phase::Idle;
        let place = Place { node, at: self.tree.len_of(node) };
        let wordless = self.tree.reply_text(place).is_empty();
        if stop == Stop::Cancelled && wordless && self.held.is_none() {
            self.take_back(out);
        }
    }

    /// Takes a message back whose reply has no word, so that it can be sent again.
    fn take_back(&mut self, out: &mut Vec<Effect>) {
        let Some(head) = self.tree.head() else { return };
        let mut parent = self.tree.node(head.node).and_then(|n| n.parent);
        let mut text = None;
        if let Some(p) = parent
            && let Some(node) = self.tree.node(p.node)
            && let Body::Message(message) = &node.body
        {
            text = Some(message.clone());
            parent = node.parent;
        }
        self.go(parent, out);
        if let Some(text) = text {
            // What was written meanwhile comes after it.
            let since = self.composer.text();
            let gap = if since.is_empty() { "" } else { "\n" };
            self.composer.set(&format!("{text}{gap}{since}"));
        }
    }

    fn failed(&mut self, error: &Arc<Error>, out: &mut Vec<Effect>) {
        match self.phase {
            Phase::Loading => {
                self.queued = None;
                self.phase = Phase::Broken(Arc::clone(error));
                self.focus = Focus::Transcript;
                self.fault(&format!("cannot open the model\n{error}"));
            }
            Phase::Busy { .. } => {
                self.phase = Phase::Idle;
                self.reply.prefill = None;
                self.held = None;
                let node = self.growing.take();
                let made = node.map_or(0, |n| self.tree.len_of(n));
                self.view.end("", "— broken off".into());
                if made == 0 {
                    self.take_back(out);
                }
                self.fault(&error.to_string());
            }
            _ => self.fault(&error.to_string()),
        }
    }

    pub(super) fn told(&mut self, event: &Event, out: &mut Vec<Effect>) {
        match event {
            Event::Opened { id, card, n_ctx, kv_bytes } if *id == self.start.id => {
                (self.configuring, self.heard) = (0, None);
                let opened = Opened { card: Arc::clone(card), n_ctx: *n_ctx, kv_bytes: *kv_bytes };
                self.opened(opened, out);
            }
            Event::Prompted { id, tokens, .. } if *id == self.start.id => {
                self.prompted(tokens, out);
            }
            Event::Configured { id, params, .. } if *id == self.start.id => {
                self.moved(params);
                self.turned(params, out);
            }
            Event::Prefill { id, done, total } if *id == self.start.id => {
                self.reply.read(*done, *total, self.now);
                self.used = *done;
            }
            Event::Piece { id, piece, used } if *id == self.start.id => {
                self.reply.piece(piece, self.now);
                self.used = *used;
                self.view.push(&piece.text);
                if let Some(node) = self.growing
                    && let Some(line) = file::push(&mut self.tree, node, piece)
                {
                    self.keep(line, out);
                }
            }
            Event::Stopped { id, stop, text, stats } if *id == self.start.id => {
                self.stopped(*stop, text, *stats, out);
            }
            Event::Note { id, text } if *id == self.start.id => self.note_once(text),
            Event::Failed { id, error } if *id == self.start.id => self.failed(error, out),
            Event::Closed { id } if *id == self.start.id => {
                // A bug took the session away: the conversation is here, a new one can have it.
                self.tell(Voice::Note, "the session was lost and is opened again");
                self.used = 0;
                self.open(out);
            }
            _ => {}
        }
    }

    /// A note about a prompt, which comes with every one.
    fn note_once(&mut self, text: &str) {
        if self.view.transcript.items().iter().all(|i| i.raw() != text) {
            self.tell(Voice::Note, text);
            // The reply goes on growing below it.
            if self.growing.is_some() {
                self.rebuild();
                self.transcript().live = true;
            }
        }
    }
}
