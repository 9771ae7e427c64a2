//! What the user wants, done or asked for.

use super::{AGAIN, Chat, Phase};
use crate::conversation::export;
use crate::engine::sampler::Cut;
use crate::ui::keymap::Focus;
use crate::ui::msg::{Action, Effect, Exit};
use crate::ui::widgets::composer::Edit;
use crate::ui::widgets::knobs;

impl Chat {
    fn interrupt(&mut self, out: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::Busy { stopping: Some(since) } if self.now < *since + AGAIN => {
                out.push(Effect::Quit(Exit::Interrupted));
            }
            Phase::Busy { stopping } => {
                *stopping = Some(self.now);
                self.held = None;
                out.push(Effect::Cancel(self.start.id));
            }
            Phase::Broken(_) | Phase::Gone => out.push(Effect::Quit(self.exit())),
            _ if !self.composer.is_empty() || self.editing.is_some() => {
                // Not lost: the arrow up brings it back.
                self.composer.take();
                self.editing = None;
            }
            _ if self.flash.as_ref().is_some_and(|f| f.quits) => {
                out.push(Effect::Quit(self.exit()));
            }
            _ => {
                self.flash(format!("{} again to quit", self.keys.key_for(Action::Interrupt)));
                self.flash.iter_mut().for_each(|f| f.quits = true);
            }
        }
    }

    pub(super) fn move_focus(&mut self, focus: Focus) {
        self.leave_number();
        let broken = self.situation().broken;
        self.focus = if broken && focus == Focus::Composer { Focus::Transcript } else { focus };
        if self.focus == Focus::Composer {
            self.zoomed = false;
            self.view.anchor = None;
        }
    }

    /// Scrolls what has the focus; the conversation, if that cannot be scrolled.
    fn scroll(&mut self, lines: isize, pages: f32) {
        let pane = match self.focus {
            Focus::Model => Some(0),
            Focus::Speed => Some(1),
            Focus::Prompt => Some(2),
            _ => None,
        };
        match (pane, lines) {
            (Some(pane), 0) => {
                let lines = (pages * 10.0) as isize;
                self.tops[pane] = self.tops[pane].saturating_add_signed(lines);
            }
            (Some(pane), n) => self.tops[pane] = self.tops[pane].saturating_add_signed(n),
            (None, 0) => self.transcript().scroll_page(pages),
            (None, n) => self.transcript().scroll(n),
        }
    }

    /// One step out.
    fn back(&mut self) {
        match self.focus {
            Focus::Rivals | Focus::Prompt => self.focus = Focus::Transcript,
            Focus::Find => {
                self.focus = Focus::Transcript;
                self.view.query.clear();
                self.view.search();
            }
            Focus::Transcript if self.view.anchor.is_some() => self.view.anchor = None,
            Focus::Composer => self.editing = None,
            _ => self.move_focus(Focus::Composer),
        }
    }

    fn send_written(&mut self, out: &mut Vec<Effect>) {
        match self.phase {
            Phase::Busy { .. } => drop(self.is_free()),
            Phase::Loading if self.queued.is_some() => {
                self.flash("a message waits for the model already");
            }
            Phase::Loading if self.composer.is_empty() => {}
            _ => {
                let text = self.composer.take();
                self.send(text, out);
            }
        }
    }

    /// The cursor goes by tokens, lines or messages.
    fn point(&mut self, action: Action) {
        match action {
            Action::Token(n) => self.view.step(n.into()),
            Action::Line(n) if self.view.cursor.is_some() => self.view.line(n > 0),
            Action::Line(n) => self.transcript().scroll(n.into()),
            Action::Message(n) => self.view.message(n.into()),
            _ => {}
        }
        self.choose_taken();
    }

    /// The alternative that is chosen first is the one that was taken.
    fn choose_taken(&mut self) {
        let place = self.view.cursor_place();
        let record = place.and_then(|p| self.record_at(p));
        let taken = record.and_then(|r| r.top.iter().position(|t| t.id == r.id));
        self.rival = taken.unwrap_or(0);
    }

    fn rivals(&mut self) {
        if self.view.cursor.is_none_or(|c| c.token.is_none()) {
            self.view.step(-1);
        }
        if self.view.cursor_place().is_none() {
            return self.flash("no token is here");
        }
        self.choose_taken();
        self.focus = Focus::Rivals;
    }

    fn choose(&mut self, down: bool) {
        if self.focus != Focus::Rivals {
            return self.knobs.choose(down);
        }
        let record = self.view.cursor_place().and_then(|p| self.record_at(p));
        let n = record.map_or(0, |r| r.top.len()).max(1);
        self.rival = (self.rival + if down { 1 } else { n - 1 }) % n;
    }

    fn find_next(&mut self, down: bool) {
        match self.view.next_hit(down) {
            Some(at) => self.flash(format!("{} of {}", at + 1, self.view.hits())),
            None => self.flash("not found"),
        }
    }

    /// The alternatives at the cursor, as text.
    fn rivals_text(&self) -> Option<String> {
        let record = self.record_at(self.view.cursor_place()?)?;
        let line = |r: &crate::conversation::Rival| {
            let cut = r.cut.map_or("", cut_word);
            format!("{:?}\t{:.6}\t{:.6}\t{cut}\n", &*r.text, r.logprob.exp(), r.p_final)
        };
        Some(record.top.iter().map(line).collect())
    }

    fn copy(&mut self, text: Option<String>, out: &mut Vec<Effect>) {
        match text.filter(|t| !t.is_empty()) {
            Some(text) => out.push(Effect::Copy(text)),
            None => self.flash("there is nothing to copy"),
        }
        self.view.anchor = None;
    }

    /// A click, at a cell of the screen: the pane gets the focus, a token the cursor.
    pub fn click(&mut self, x: u16, y: u16) {
        if let Some((item, token)) = self.view.transcript.at(x, y)
            && !matches!(self.focus, Focus::Rivals | Focus::Prompt)
        {
            let same = self.view.cursor.is_some_and(|c| c.item == item && c.token == token);
            self.move_focus(Focus::Transcript);
            self.view.cursor = Some(super::view::Cursor { item, token });
            self.choose_taken();
            if same && token.is_some() {
                self.focus = Focus::Rivals;
            }
            return;
        }
        let pane = self.panes.iter().rev().find(|(r, _)| r.contains((x, y).into()));
        if let Some((_, focus)) = pane {
            self.move_focus(*focus);
        }
    }

    pub(super) fn perform(&mut self, action: Action, out: &mut Vec<Effect>) {
        let toggle = |is: Focus, to: Focus| if is == to { Focus::Composer } else { to };
        match action {
            Action::Interrupt => self.interrupt(out),
            Action::EndOfFile if self.composer.is_empty() => out.push(Effect::Quit(self.exit())),
            Action::EndOfFile => self.composer.edit(Edit::DeleteNext),
            Action::Quit => out.push(Effect::Quit(self.exit())),
            Action::Knobs => self.move_focus(toggle(self.focus, Focus::Knobs)),
            Action::Model => self.move_focus(toggle(self.focus, Focus::Model)),
            Action::Speed => self.move_focus(toggle(self.focus, Focus::Speed)),
            Action::NextPane | Action::PrevPane => {
                use Focus::{Composer, Knobs, Model, Speed, Transcript};
                const RING: [Focus; 5] = [Composer, Transcript, Knobs, Model, Speed];
                let at = RING.iter().position(|f| *f == self.focus).unwrap_or(0);
                let step = if action == Action::NextPane { 1 } else { RING.len() - 1 };
                self.move_focus(RING[(at + step) % RING.len()]);
            }
            Action::Zoom => self.zoomed = !self.zoomed,
            Action::Back => self.back(),
            Action::NewSession => {
                let free = self.is_free();
                if free {
                    self.forget();
                    self.flash("a new conversation");
                }
            }
            Action::Save => {
                let text = match &self.file {
                    Some(path) => format!("saved as it goes: {}", path.display()),
                    None if self.tree.nodes().is_empty() => "nothing was said yet".into(),
                    None => "this conversation is not kept".into(),
                };
                self.flash(text);
            }
            Action::Send => self.send_written(out),
            Action::Regenerate => self.regenerate(out),
            Action::Continue => self.continue_here(self.knobs.max(), out),
            Action::Branch => self.branch(out),
            Action::RewindToken => self.rewind(out),
            Action::RewindTurn => self.rewind_turn(out),
            Action::Redo => self.redo(out),
            Action::Pause => self.pause(out),
            Action::StepOne => self.step_one(out),
            Action::EditTurn => self.edit(),
            Action::Pick => self.pick(out),
            Action::Rivals => self.rivals(),
            Action::Token(_) | Action::Line(_) | Action::Message(_) => self.point(action),
            Action::Colour => {
                self.view.colour = self.view.colour.next();
                let legend = self.view.colour.legend();
                self.flash(if legend.is_empty() { "tokens are plain" } else { legend });
            }
            Action::Select => match self.view.cursor {
                Some(c) => self.view.anchor = c.token.map(|t| (c.item, t)),
                None => self.flash("point at a token first: ← →"),
            },
            Action::Mark => {
                self.marked = self.view.cursor_place();
                self.flash(if self.marked.is_some() { "marked" } else { "point at a token first" });
            }
            Action::GoMark => match self.marked.and_then(|p| self.view.locate(p)) {
                Some(c) => self.view.point(c.item, c.token),
                None => self.flash("no mark is on this branch"),
            },
            Action::Find => {
                self.view.query.clear();
                self.view.search();
                self.focus = Focus::Find;
            }
            Action::FindNext { down } => self.find_next(down),
            Action::ExactPrompt => {
                self.tops[2] = 0;
                self.focus =
                    if self.focus == Focus::Prompt { Focus::Transcript } else { Focus::Prompt };
            }
            Action::Copy if self.focus == Focus::Rivals => self.copy(self.rivals_text(), out),
            Action::Copy => self.copy(self.view.copied(), out),
            Action::CopyAll => {
                let turns = self.tree.turns(self.tree.head());
                self.copy(Some(export::turns_markdown(&turns)), out);
            }
            Action::Edit(edit) => self.composer.edit(edit),
            Action::Scroll(n) => self.scroll(n.into(), 0.0),
            Action::ScrollHalf(n) => self.scroll(0, f32::from(n) / 2.0),
            Action::Top => {
                self.view.cursor = None;
                self.transcript().to_top();
            }
            Action::Bottom => {
                self.view.cursor = None;
                self.transcript().follow();
            }
            Action::Choose { down } => self.choose(down),
            Action::Turn(turn) => {
                if self.knobs.turn(turn) {
                    self.configured(out);
                } else if matches!(turn, knobs::Turn::Step { .. }) {
                    self.flash("that is as far as it goes");
                }
            }
            Action::TypeStart => self.knobs.type_start(),
            Action::TypeBack => self.knobs.type_back(),
            Action::TypeEnd { keep } => {
                let set = self.knobs.type_end(keep);
                if set {
                    self.configured(out);
                }
            }
            // The application's own, those of other screens, or those that need the key.
            _ => {}
        }
    }

    /// The branches there are: where each ends, and a line of each.
    pub fn branch_list(&self) -> Vec<(crate::conversation::Place, String)> {
        self.branches()
    }

    /// To another branch.
    pub fn switch(&mut self, place: crate::conversation::Place, out: &mut Vec<Effect>) {
        if self.is_free() {
            self.move_head(Some(place), out);
            self.move_focus(Focus::Transcript);
        }
    }
}

/// The stage that cut a token, as one says it.
pub(super) fn cut_word(cut: Cut) -> &'static str {
    match cut {
        Cut::Bias => "banned",
        Cut::TopK => "top-k",
        Cut::TopP => "top-p",
        Cut::MinP => "min-p",
        Cut::Greedy => "temp 0",
    }
}
