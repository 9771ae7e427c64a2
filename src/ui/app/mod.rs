//! All state of the screen. Pure: messages in, effects out, and a drawing; no clock, no terminal,
//! no threads.

mod draw;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ratatui::crossterm::event::{KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;

use crate::conversation::file::Saved;
use crate::engine::service::{Command, SessionId};
use crate::tools::opts::ComputeOpts;
use crate::ui::jobs::Owner;
use crate::ui::keymap::{self, Focus, Keymap, Now};
use crate::ui::logring::Ring;
use crate::ui::msg::{Action, Effect, Exit, Msg};
use crate::ui::overlays::help::Help;
use crate::ui::overlays::picker::{Pick, Picker};
use crate::ui::screens::chat::{Chat, Start};
use crate::ui::screens::inspect::Inspect;
use crate::ui::screens::logs::Logs;
use crate::ui::screens::models::{self, Models, Want};
use crate::ui::screens::pool::{self, Pool, Serve};
use crate::ui::screens::quantize::Quantize;
use crate::ui::screens::{Screen, Tab};
use crate::ui::theme::Theme;

/// A second Ctrl+C, or Enter, has to come within this time.
const AGAIN: Duration = Duration::from_secs(2);

/// What the screens beside the conversation start with.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Where models are looked for.
    pub models: models::Start,
    /// What the pool's screen tells of the file server.
    pub pool: pool::Start,
    /// The log.
    pub ring: Ring,
    /// What computes, in words.
    pub machine: String,
    /// The mouse is ours.
    pub mouse: bool,
    /// What is wrong with the user's files, to be said.
    pub problems: Vec<String>,
    /// A file to look into at once, and why it is not talked to.
    pub inspect: Option<(PathBuf, String)>,
}

/// What fills the window: the list of models, or a screen of the tab bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Models,
    Tab(Tab),
}

/// What a second press of a key would do.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Again {
    Nothing,
    Quit,
    /// End the conversation for this model.
    Talk(PathBuf),
}

/// A line that goes away by itself.
#[derive(Clone, Debug)]
struct Notice {
    text: String,
    until: Duration,
    again: Again,
}

/// The application.
#[derive(Debug)]
pub struct App {
    theme: Theme,
    keys: Arc<Keymap>,
    /// Whether the mouse is ours.
    mouse: bool,
    /// A list to choose from.
    picker: Option<Picker>,
    /// A conversation of before that waits for its model.
    resume: Option<(PathBuf, Box<Saved>)>,
    /// Where the footer's keys and the tabs were drawn.
    spots: Vec<(Rect, Action)>,
    machine: String,
    page: Page,
    /// How conversations are opened.
    base: Start,
    /// The conversation, and its session.
    chat: Option<(SessionId, Chat)>,
    models: Models,
    inspect: Inspect,
    quantize: Quantize,
    pool: Pool,
    logs: Logs,
    help: Option<Help>,
    /// How it ends as soon as no file is half written.
    leaving: Option<Exit>,
    notice: Option<Notice>,
    now: Duration,
}

impl App {
    /// Opens a conversation on the screen; the effects start the engine's part.
    pub fn new(start: Start, theme: Theme) -> (App, Vec<Effect>) {
        App::around(start, Around::default(), true, theme)
    }

    /// Opens a conversation with the model of `start`, or with `talk` false the list of models, of
    /// which one takes its place.
    pub fn around(start: Start, around: Around, talk: bool, theme: Theme) -> (App, Vec<Effect>) {
        let mut out = Vec::new();
        let mut base = start.clone();
        // The first message is sent once.
        base.prompt = None;
        let mut inspect = Inspect::new(around.models.file.clone());
        let compute =
            ComputeOpts { threads: start.threads, exact: start.exact, ..ComputeOpts::default() };
        let quantize = Quantize::new(around.models.file.clone(), compute);
        let mut models = Models::new(around.models);
        let mut page = Page::Tab(Tab::Chat);
        let chat = if talk {
            Some((start.id, Chat::new(start, &mut out)))
        } else {
            base.prompt = start.prompt;
            page = Page::Models;
            None
        };
        let notice = around.inspect.map(|(path, why)| {
            inspect.open(path, &mut out);
            page = Page::Tab(Tab::Inspect);
            Notice { text: why, until: AGAIN * 4, again: Again::Nothing }
        });
        if page == Page::Models {
            models.look(&mut out);
        }
        let mut app = App {
            theme,
            keys: Arc::clone(&base.keys),
            mouse: around.mouse,
            picker: None,
            resume: None,
            spots: Vec::new(),
            machine: around.machine,
            page,
            base,
            chat,
            models,
            inspect,
            quantize,
            pool: Pool::new(around.pool),
            logs: Logs::new(around.ring),
            help: None,
            leaving: None,
            notice,
            now: Duration::ZERO,
        };
        let wrong = around.problems.len();
        if let Some((_, chat)) = &mut app.chat {
            around.problems.iter().for_each(|p| chat.warn(p));
        } else if let Some(first) = around.problems.first() {
            app.say(format!("{first} ({wrong} in all)"), Again::Nothing);
        }
        (app, out)
    }

    /// Goes on with a conversation of before.
    pub fn resume(&mut self, path: PathBuf, saved: Box<Saved>) -> Vec<Effect> {
        let mut out = Vec::new();
        match &mut self.chat {
            Some((_, chat)) => chat.resume(path, *saved, &mut out),
            None => self.resume = Some((path, saved)),
        }
        out
    }

    /// When the screen changes by itself, if it does.
    pub fn deadline(&self) -> Option<Duration> {
        let chat = self.chat.as_ref().and_then(|(_, c)| c.deadline());
        let notice = self.notice.as_ref().map(|n| n.until);
        let pool = self.pool.deadline().filter(|_| self.page == Page::Tab(Tab::Pool));
        [chat, notice, pool, self.inspect.deadline()].into_iter().flatten().min()
    }

    /// Takes note of what happened, and tells what is to be done.
    pub fn update(&mut self, msg: Msg) -> Vec<Effect> {
        let mut out = Vec::new();
        match msg {
            Msg::Time(now) => self.time(now, &mut out),
            Msg::Key(key) if key.kind != KeyEventKind::Release => self.key(key, &mut out),
            Msg::Key(_) | Msg::Resize => {}
            Msg::Paste(text) => self.paste(&text, &mut out),
            Msg::Engine(event) => {
                self.pool.event(&event, &mut out);
                if let Some((_, chat)) = &mut self.chat {
                    chat.event(&event, &mut out);
                }
            }
            Msg::Job(id, told) => match id.owner {
                Owner::Models | Owner::Name => self.models.told(id, told),
                Owner::Quantize => self.quantize.told(id, told, &mut out),
                Owner::Pool => self.pool.told(id, told, &mut out),
                _ => self.inspect.told(id, told, &mut out),
            },
            Msg::Talk(id, path) => self.talk(id, path, &mut out),
            Msg::Served(seen) => self.pool.take(*seen, &mut out),
            Msg::Asked(ask, question) => self.pool.asked(ask, question),
            Msg::Listened(answer) => {
                self.pool.listened(answer);
                out.push(Effect::Serve(Serve::Look));
            }
            Msg::Logged => self.logs.fetch(),
            Msg::Kept(kept) => {
                if let Some((_, chat)) = &mut self.chat {
                    chat.kept(kept);
                }
            }
            Msg::Sessions(entries) => self.picker = Some(Picker::sessions(entries)),
            Msg::Loaded(path, saved) => self.loaded(path, saved, &mut out),
            Msg::Say(text) => self.say(text, Again::Nothing),
            Msg::Mouse(event) => self.mouse(event, &mut out),
            Msg::EngineGone => {
                self.pool.engine_gone();
                match &mut self.chat {
                    Some((_, chat)) => chat.engine_gone(),
                    None => self.say("the engine stopped working", Again::Nothing),
                }
            }
            Msg::InputGone => out.push(Effect::Quit(Exit::HungUp)),
            Msg::Signal(exit) => out.push(Effect::Quit(exit)),
        }
        self.hold(&mut out);
        out
    }

    /// A file that is being written goes before the program does; asked again, it ends at once.
    fn hold(&mut self, out: &mut Vec<Effect>) {
        let quit = out.iter().position(|e| matches!(e, Effect::Quit(_)));
        match quit {
            Some(at) if self.quantize.is_writing() && self.leaving.is_none() => {
                if let Effect::Quit(exit) = out.remove(at) {
                    self.leaving = Some(exit);
                }
                self.quantize.interrupt();
            }
            None if !self.quantize.is_writing() => {
                out.extend(self.leaving.take().map(Effect::Quit))
            }
            _ => {}
        }
    }

    fn time(&mut self, now: Duration, out: &mut Vec<Effect>) {
        self.now = now;
        self.notice.take_if(|n| n.until <= now);
        self.inspect.time(now, out);
        self.quantize.time(now);
        self.pool.time(now);
        if let Some((_, chat)) = &mut self.chat {
            chat.time(now);
        }
    }

    fn paste(&mut self, text: &str, out: &mut Vec<Effect>) {
        self.help = None;
        if let Some(picker) = &mut self.picker {
            return picker.paste(text);
        }
        match self.page {
            Page::Models => self.models.paste(text),
            Page::Tab(Tab::Inspect) => self.inspect.paste(text, out),
            Page::Tab(Tab::Quantize) => self.quantize.paste(text),
            Page::Tab(Tab::Pool) => self.pool.paste(text),
            Page::Tab(_) => {
                if let Some((_, chat)) = &mut self.chat {
                    self.page = Page::Tab(Tab::Chat);
                    chat.paste(text);
                }
            }
        }
    }

    /// What keys depend on.
    fn situation(&self) -> Now {
        match (self.page, &self.chat) {
            (Page::Models, _) => self.models.situation(),
            (Page::Tab(Tab::Inspect), _) => self.inspect.situation(),
            (Page::Tab(Tab::Quantize), _) => self.quantize.situation(),
            (Page::Tab(Tab::Logs), _) => self.logs.situation(),
            (Page::Tab(Tab::Pool), _) => self.pool.situation(),
            (Page::Tab(_), Some((_, chat))) => chat.situation(),
            (Page::Tab(_), None) => Now { focus: Focus::Library, ..Now::default() },
        }
    }

    fn focus(&self) -> Focus {
        match (&self.picker, &self.help) {
            (Some(_), _) => Focus::List,
            (_, Some(_)) => Focus::Help,
            _ => self.situation().focus,
        }
    }

    fn key(&mut self, key: KeyEvent, out: &mut Vec<Effect>) {
        match (self.keys.action(&key, self.focus()), &mut self.picker) {
            (None, Some(picker)) => picker.key(key),
            (None, None) if self.help.is_none() => self.text_key(key, out),
            (None, None) => {}
            (Some(Action::TypeChar), _) => {
                if let Some((_, chat)) = &mut self.chat {
                    chat.digit(key);
                }
            }
            (Some(action), _) => self.perform(action, out),
        }
    }

    /// Does what the user wants, wherever it was said.
    fn perform(&mut self, action: Action, out: &mut Vec<Effect>) {
        if let Some(picker) = &mut self.picker {
            match action {
                Action::Choose { down } => return picker.choose(down),
                Action::Scroll(n) => return picker.choose(n > 0),
                Action::Pick => return self.picked(out),
                Action::Back | Action::Palette | Action::Interrupt => return self.picker = None,
                Action::Redraw | Action::Suspend => {}
                _ => self.picker = None,
            }
        }
        match (action, &mut self.help) {
            (Action::Redraw, _) => out.push(Effect::Redraw),
            (Action::Suspend, _) => out.push(Effect::Suspend),
            (Action::Go(tab), _) => self.go(tab, out),
            (Action::Library, _) => self.library(out),
            (Action::Palette, _) => self.palette(),
            (Action::OpenSession, _) => {
                self.help = None;
                out.push(Effect::Sessions);
            }
            (Action::Branches, _) => self.branches(),
            (Action::Theme, _) => {
                let palette = self.theme.palette().next();
                self.theme = self.theme.with(palette);
                self.say(format!("colours: {}", palette.name()), Again::Nothing);
            }
            (Action::Mouse, _) => {
                self.mouse = !self.mouse;
                out.push(Effect::Mouse(self.mouse));
                let whose = if self.mouse { "ours" } else { "the terminal's" };
                self.say(format!("the mouse is {whose}"), Again::Nothing);
            }
            (Action::Help | Action::Back, Some(_)) => self.help = None,
            (Action::Help, None) => {
                self.help = Some(Help::new(&self.keys, self.situation().focus));
            }
            (Action::Scroll(_) | Action::ScrollHalf(_), Some(help)) => help.act(action, out),
            (Action::Interrupt, _) => self.interrupt(out),
            (action, _) => {
                if action.is_pools() && self.page != Page::Tab(Tab::Pool) {
                    self.go(Tab::Pool, out);
                }
                // What leads to another pane leads out of the help.
                self.help = None;
                self.act(action, out);
            }
        }
    }

    fn palette(&mut self) {
        self.help = None;
        let now = self.situation();
        self.picker = Some(Picker::deeds(self.keys.deeds(), |a| keymap::refusal(a, &now)));
    }

    fn branches(&mut self) {
        if let Some((_, chat)) = &self.chat {
            self.picker = Some(Picker::branches(chat.branch_list()));
        }
    }

    /// Takes the chosen row of the list.
    fn picked(&mut self, out: &mut Vec<Effect>) {
        let picked = self.picker.as_ref().and_then(Picker::picked);
        match picked {
            None => {}
            Some(Err(why)) => self.say(why, Again::Nothing),
            Some(Ok(pick)) => {
                self.picker = None;
                match (pick, &mut self.chat) {
                    (Pick::Do(action), _) => self.perform(action, out),
                    (Pick::Branch(place), Some((_, chat))) => chat.switch(place, out),
                    (Pick::Branch(_), None) => {}
                    (Pick::Session(path), _) => out.push(Effect::Load(path)),
                }
            }
        }
    }

    /// A conversation of before was read: it goes on with its model.
    fn loaded(&mut self, path: PathBuf, saved: Box<Saved>, out: &mut Vec<Effect>) {
        match &mut self.chat {
            Some((_, chat)) if chat.situation().busy => {
                self.say("not while a reply is being made", Again::Nothing);
            }
            Some((_, chat))
                if chat.fingerprint() == Some(saved.header.model.fingerprint.clone()) =>
            {
                chat.resume(path, *saved, out);
                self.page = Page::Tab(Tab::Chat);
            }
            _ => {
                out.push(Effect::Talk(PathBuf::from(&saved.header.model.path)));
                self.resume = Some((path, saved));
            }
        }
    }

    fn mouse(&mut self, event: MouseEvent, out: &mut Vec<Effect>) {
        let at = (event.column, event.row);
        match event.kind {
            MouseEventKind::ScrollUp | MouseEventKind::ScrollDown => {
                let down = event.kind == MouseEventKind::ScrollDown;
                let lines = if down { 3 } else { -3 };
                match (&mut self.help, &mut self.picker) {
                    (_, Some(picker)) => picker.choose(down),
                    (Some(help), _) => help.act(Action::Scroll(lines), out),
                    _ => self.act(Action::Scroll(lines), out),
                }
            }
            MouseEventKind::Down(MouseButton::Left) => {
                let spot = self.spots.iter().find(|(r, _)| r.contains(at.into()));
                if let Some((_, action)) = spot {
                    self.perform(*action, out);
                } else if self.help.take().is_none()
                    && self.picker.take().is_none()
                    && let (Page::Tab(Tab::Chat), Some((_, chat))) = (self.page, &mut self.chat)
                {
                    chat.click(at.0, at.1);
                }
            }
            _ => {}
        }
    }

    /// A key that is text, where text is typed.
    fn text_key(&mut self, key: KeyEvent, out: &mut Vec<Effect>) {
        match (self.page, &mut self.chat) {
            (Page::Tab(Tab::Chat), Some((_, chat))) => chat.key(key),
            _ if !keymap::is_text(&key) => {}
            (Page::Models, _) => self.models.key(key),
            (Page::Tab(Tab::Inspect), _) => self.inspect.key(key, out),
            (Page::Tab(Tab::Quantize), _) => self.quantize.key(key),
            (Page::Tab(Tab::Logs), _) => self.logs.key(key),
            (Page::Tab(Tab::Pool), _) => self.pool.key(key),
            _ => {}
        }
    }

    fn act(&mut self, action: Action, out: &mut Vec<Effect>) {
        match (self.page, &mut self.chat) {
            (Page::Tab(Tab::Chat), Some((_, chat))) => return chat.act(action, out),
            (_, _) if action == Action::Quit => return out.push(Effect::Quit(self.exit())),
            (Page::Models, chat) => match (action, chat) {
                // One step out, where there is something to go back to.
                (Action::Back, Some(_)) => self.page = Page::Tab(Tab::Chat),
                _ => self.models.act(action, out),
            },
            (Page::Tab(Tab::Inspect), _) => self.inspect.act(action, out),
            (Page::Tab(Tab::Quantize), _) if action == Action::Back => {
                return self.go(Tab::Chat, out);
            }
            (Page::Tab(Tab::Quantize), _) => self.quantize.act(action, out),
            (Page::Tab(Tab::Logs), _) => self.logs.act(action, out),
            (Page::Tab(Tab::Pool), chat) => {
                self.pool.own(chat.as_ref().map(|(id, _)| *id));
                self.pool.act(action, out);
            }
            (Page::Tab(_), _) => {}
        }
        match self.pool.take_want() {
            Some(pool::Want::Chat(path)) => self.want_talk(path, out),
            Some(pool::Want::Own) => self.page = Page::Tab(Tab::Chat),
            None => {}
        }
        match self.models.take_want().or_else(|| self.quantize.take_want()) {
            Some(Want::Inspect(path)) => {
                self.inspect.open(path, out);
                self.page = Page::Tab(Tab::Inspect);
            }
            Some(Want::Chat(path)) => self.want_talk(path, out),
            None => {}
        }
    }

    /// A conversation that was begun is not ended by one key.
    fn want_talk(&mut self, path: PathBuf, out: &mut Vec<Effect>) {
        let begun = self.chat.as_ref().is_some_and(|(_, c)| c.situation().replied);
        let again = Again::Talk(path.clone());
        if begun && self.notice.as_ref().is_none_or(|n| n.again != again) {
            let enter = self.keys.key_for(Action::Open);
            self.say(format!("{enter} again ends the conversation and opens this one"), again);
            return;
        }
        self.notice = None;
        out.push(Effect::Talk(path));
    }

    /// The session of a new conversation has a name.
    fn talk(&mut self, id: SessionId, path: PathBuf, out: &mut Vec<Effect>) {
        if let Some((old, _)) = self.chat.take() {
            out.push(Effect::Engine(Command::Close { id: old }));
        }
        self.models.dismiss(out);
        let mut start = self.base.clone();
        self.base.prompt = None;
        start.id = id;
        start.source.path = path;
        // Another one for each conversation.
        start.entropy ^= id.rotate_left(32);
        let mut chat = Chat::new(start, out);
        chat.time(self.now);
        if let Some((file, saved)) = self.resume.take() {
            chat.resume(file, *saved, out);
        }
        self.chat = Some((id, chat));
        self.page = Page::Tab(Tab::Chat);
    }

    fn library(&mut self, out: &mut Vec<Effect>) {
        self.help = None;
        self.page = Page::Models;
        self.models.look(out);
    }

    /// To another screen, where there is one.
    fn go(&mut self, tab: Tab, out: &mut Vec<Effect>) {
        self.help = None;
        match (tab, tab.row()) {
            (_, row) if !row.built => {
                self.say(format!("{} comes in a later version", row.name.0), Again::Nothing);
            }
            (Tab::Chat, _) if self.chat.is_none() => self.library(out),
            (Tab::Inspect, _) => {
                // What is talked to is what one wants to look into.
                if let (true, Some((_, chat))) = (self.inspect.is_empty(), &self.chat) {
                    self.inspect.open(chat.path().to_owned(), out);
                }
                self.page = Page::Tab(tab);
            }
            (Tab::Quantize, _) => {
                if let (true, Some((_, chat))) = (self.quantize.is_empty(), &self.chat) {
                    self.quantize.open(chat.path().to_owned(), out);
                }
                self.page = Page::Tab(tab);
            }
            (Tab::Pool, _) => {
                self.pool.own(self.chat.as_ref().map(|(id, _)| *id));
                self.page = Page::Tab(tab);
                out.push(Effect::Serve(Serve::Look));
            }
            _ => self.page = Page::Tab(tab),
        }
    }

    /// Ctrl+C: stops what goes on; twice, ends the program.
    fn interrupt(&mut self, out: &mut Vec<Effect>) {
        let busy = |c: &Chat| c.situation().busy;
        match (self.page, &mut self.chat) {
            (Page::Tab(Tab::Chat), Some((_, chat))) => return chat.act(Action::Interrupt, out),
            (Page::Models, _) if self.models.interrupt() => return,
            (Page::Tab(Tab::Inspect), _) if self.inspect.interrupt() => return,
            (Page::Tab(Tab::Quantize), _) if self.quantize.interrupt() => return,
            (Page::Tab(Tab::Pool), _) if self.pool.interrupt(out) => return,
            (_, Some((_, chat))) if busy(chat) => return chat.act(Action::Interrupt, out),
            _ => {}
        }
        if self.notice.as_ref().is_some_and(|n| n.again == Again::Quit) {
            out.push(Effect::Quit(self.exit()));
        } else {
            let key = self.keys.key_for(Action::Interrupt);
            self.say(format!("{key} again to quit"), Again::Quit);
        }
    }

    fn exit(&self) -> Exit {
        self.chat.as_ref().map_or(Exit::Quit, |(_, chat)| chat.exit())
    }

    fn say(&mut self, text: impl Into<String>, again: Again) {
        self.notice = Some(Notice { text: text.into(), until: self.now + AGAIN, again });
    }
}
