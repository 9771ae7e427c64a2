//! The rows of the key map that belong to the screens beside the conversation.

use ratatui::crossterm::event::KeyCode::{Backspace, Down, Enter, Esc, Left, Right, Up};

use super::rows::{Binding, NEVER, alt, c, ctrl, on, row};
use super::{Focus, Place};
use crate::ui::msg::{Accept, Action, Switch, View};
use crate::ui::screens::quantize::Step;
use crate::ui::widgets::composer::Edit;
use Place::In;

/// Their part of the table; it is looked at first.
pub(super) const ROWS: &[Binding] = &[
    // ---- the list of models
    row(In(Focus::Library), &[on(Enter)], Action::Open, "open the model and chat", |n| n.enter),
    row(In(Focus::Tree), &[on(Enter)], Action::Open, "open a group; see the numbers", |n| n.enter),
    row(In(Focus::Table), &[on(Enter)], Action::Open, "open it", |n| n.enter),
    row(In(Focus::Values), &[on(Enter)], Action::Open, "measure it; go to the row", NEVER),
    row(Place::List, &[on(Up), c('k')], Action::Scroll(-1), "a row up", |_| Some("move")),
    row(Place::List, &[on(Down), c('j')], Action::Scroll(1), "a row down", |_| Some("move")),
    row(In(Focus::Library), &[c('i')], Action::Inspect, "look into it", |n| {
        (!n.empty && n.enter != Some("inspect")).then_some("inspect")
    }),
    row(In(Focus::Library), &[c('o')], Action::OpenPath, "type a path", |_| Some("open path")),
    row(In(Focus::Library), &[c('R')], Action::Refresh, "look for models again", |_| {
        Some("refresh")
    }),
    row(In(Focus::Library), &[c('x')], Action::Dismiss, "dismiss the first run's panel", NEVER),
    // ---- the pool and its server
    row(In(Focus::Pool), &[on(Enter)], Action::Open, "talk to the model", |n| n.enter),
    row(In(Focus::Server), &[on(Enter)], Action::Open, "copy the line", |n| n.enter),
    row(In(Focus::Trace), &[on(Enter)], Action::Open, "load what was asked back", |n| n.enter),
    row(In(Focus::Sessions), &[on(Enter)], Action::Open, "read what is said there", |n| n.enter),
    row(In(Focus::Pool), &[c('U')], Action::Unload, "unload the model", |n| {
        (!n.empty).then_some("unload")
    }),
    row(In(Focus::Pool), &[c('P')], Action::Pin, "it never goes by itself, or may", |n| {
        (!n.empty).then_some(if n.pinned { "unpin" } else { "pin" })
    }),
    row(In(Focus::Sessions), &[c('x')], Action::StopReply, "stop its reply", |n| {
        n.making.then_some("stop reply")
    }),
    row(Place::Pool, &[c('L')], Action::Load, "load a model", |_| Some("load")),
    row(Place::Pool, &[c('l')], Action::Limit, "what the pool may hold", |_| Some("limits")),
    row(Place::Pool, &[c('9')], Action::Serve, "start the server, or stop it", |n| {
        n.serves.map(|on| if on { "stop 9P" } else { "start 9P" })
    }),
    row(Place::Pool, &[c('a')], Action::Listen, "listen on another address", |n| {
        n.serves.map(|_| "listen")
    }),
    row(Place::Pool, &[c('t')], Action::Trace, "show every 9P message, or not", |n| {
        n.serves.map(|_| if n.traces { "no trace" } else { "trace" })
    }),
    row(In(Focus::Reading), &[on(Up), c('k')], Action::Scroll(-1), "a line up", |_| Some("scroll")),
    row(In(Focus::Reading), &[on(Down), c('j')], Action::Scroll(1), "a line down", |_| {
        Some("scroll")
    }),
    row(In(Focus::Reading), &[c('x')], Action::StopReply, "stop its reply", |n| {
        n.making.then_some("stop reply")
    }),
    row(In(Focus::Reading), &[c('y')], Action::Yank { all: false }, "copy the last text", |_| {
        Some("yank")
    }),
    row(In(Focus::Reading), &[c('Y')], Action::Yank { all: true }, "copy all of it", NEVER),
    row(In(Focus::Reading), &[on(Esc)], Action::Back, "back to the sessions", |_| Some("close")),
    // ---- the log
    row(In(Focus::Logs), &[c('l')], Action::Level, "only lines of a level, or worse", |n| {
        n.filters.then_some("level")
    }),
    // ---- the wizard
    row(In(Focus::Wizard), &[on(Enter)], Action::Open, "the step's work; the next step", |n| {
        n.enter
    }),
    row(In(Focus::Wizard), &[c('f')], Action::Accept(Accept::Fallbacks), "accept fallbacks", |n| {
        n.fallbacks.then_some("accept fallbacks")
    }),
    row(
        In(Focus::Wizard),
        &[c('r')],
        Action::Accept(Accept::Requantize),
        "accept rounding again",
        |n| n.again.then_some("accept rounding"),
    ),
    row(In(Focus::Wizard), &[c('R')], Action::Accept(Accept::Replace), "replace the file", |n| {
        n.replaces.then_some("replace")
    }),
    row(In(Focus::Wizard), &[c(' ')], Action::Retype { alike: false }, "the next type", |n| {
        (n.wizard == Some(Step::Preview)).then_some("type")
    }),
    row(In(Focus::Wizard), &[c('=')], Action::Retype { alike: true }, "all of its kind so", |n| {
        (n.wizard == Some(Step::Preview)).then_some("all alike")
    }),
    row(In(Focus::Wizard), &[c('a')], Action::Better(0), "take a proposed recipe", |n| {
        n.better.then_some("recipe")
    }),
    row(In(Focus::Wizard), &[c('b')], Action::Better(1), "take a proposed recipe", |n| {
        n.better.then_some("recipe")
    }),
    row(In(Focus::Wizard), &[c('c')], Action::Better(2), "take a proposed recipe", |n| {
        n.better.then_some("recipe")
    }),
    row(In(Focus::Wizard), &[c('d')], Action::Better(3), "take a proposed recipe", NEVER),
    row(In(Focus::Wizard), &[c('t')], Action::Text, "the text to try it on", |n| {
        (n.wizard == Some(Step::Evidence)).then_some("text")
    }),
    row(In(Focus::Wizard), &[c('m')], Action::Threshold, "the most divergence allowed", |n| {
        (n.wizard == Some(Step::Evidence)).then_some("limit")
    }),
    row(In(Focus::Wizard), &[c('o')], Action::OpenPath, "type the model, or the file", |n| match n
        .wizard
    {
        Some(Step::Source) => Some("open path"),
        Some(Step::Write) => Some("name"),
        _ => None,
    }),
    row(
        In(Focus::Wizard),
        &[on(Backspace), c('[')],
        Action::Part { next: false },
        "the step before",
        |n| (n.wizard != Some(Step::Source)).then_some("back"),
    ),
    row(In(Focus::Wizard), &[c(']')], Action::Part { next: true }, "the next step", NEVER),
    row(In(Focus::Wizard), &[c('i')], Action::Inspect, "look into the model", |n| {
        matches!(n.wizard, Some(Step::Source | Step::Verify)).then_some("inspect")
    }),
    // ---- a line being typed
    row(In(Focus::Field), &[on(Enter)], Action::FieldEnd { keep: true }, "that is it", |_| {
        Some("done")
    }),
    row(In(Focus::Field), &[on(Esc)], Action::FieldEnd { keep: false }, "as it was", |_| {
        Some("cancel")
    }),
    row(In(Focus::Field), &[on(Up)], Action::Scroll(-1), "a row up", |_| Some("row")),
    row(In(Focus::Field), &[on(Down)], Action::Scroll(1), "a row down", |_| Some("row")),
    row(
        In(Focus::Field),
        &[ctrl('w'), alt(Backspace)],
        Action::Edit(Edit::DeleteWord),
        "delete the word before",
        NEVER,
    ),
    row(In(Focus::Field), &[ctrl('u')], Action::Edit(Edit::DeleteToStart), "delete all", NEVER),
    // ---- the inspector
    row(In(Focus::Tree), &[on(Left)], Action::Fold { open: false }, "close the group", |_| {
        Some("open/close")
    }),
    row(In(Focus::Tree), &[on(Right)], Action::Fold { open: true }, "open the group", |_| {
        Some("open/close")
    }),
    row(In(Focus::Tree), &[c('c')], Action::Check, "check the numbers of all tensors", |n| {
        (!n.busy).then_some("check all")
    }),
    row(In(Focus::Values), &[on(Left)], Action::Fold { open: false }, "columns back", |_| {
        Some("columns")
    }),
    row(In(Focus::Values), &[on(Right)], Action::Fold { open: true }, "columns on", |_| {
        Some("columns")
    }),
    row(In(Focus::Values), &[c('g')], Action::Goto, "go to a row by its number", |_| Some("goto")),
    row(In(Focus::Detail), &[c('g')], Action::Goto, "go to a row by its number", |n| {
        n.goes.then_some("goto")
    }),
    row(
        Place::Inspector,
        &[c('a')],
        Action::Switch(Switch::Reply),
        "template test: the reply's start",
        |n| n.switches.then_some("reply"),
    ),
    row(
        Place::Inspector,
        &[c('p')],
        Action::Switch(Switch::System),
        "template test: a system prompt",
        |n| n.switches.then_some("system"),
    ),
    row(Place::Inspector, &[c('[')], Action::Part { next: false }, "the part before", |_| {
        Some("part")
    }),
    row(Place::Inspector, &[c(']')], Action::Part { next: true }, "the next part", |_| {
        Some("part")
    }),
    row(Place::Inspector, &[c('v')], Action::View(View::Values), "numbers", NEVER),
    row(Place::Inspector, &[c('h')], Action::View(View::Histogram), "histogram", |n| {
        n.numbers.then_some("histogram")
    }),
    row(Place::Inspector, &[c('m')], Action::View(View::Map), "heat map", |n| {
        n.numbers.then_some("map")
    }),
    row(Place::Inspector, &[c('r')], Action::View(View::Rows), "rows by size", |n| {
        n.numbers.then_some("rows")
    }),
    row(Place::Inspector, &[c('t')], Action::View(View::Types), "what each type would do", |n| {
        n.numbers.then_some("types")
    }),
    // ---- the playground
    row(In(Focus::Play), &[on(Up)], Action::Scroll(-1), "a token up", |_| Some("scroll")),
    row(In(Focus::Play), &[on(Down)], Action::Scroll(1), "a token down", |_| Some("scroll")),
    row(
        In(Focus::Play),
        &[ctrl('w'), alt(Backspace)],
        Action::Edit(Edit::DeleteWord),
        "delete the word before",
        NEVER,
    ),
    row(In(Focus::Play), &[ctrl('u')], Action::Edit(Edit::DeleteToStart), "delete all", NEVER),
    row(In(Focus::Play), &[on(Enter)], Action::Edit(Edit::Newline), "a new line", NEVER),
    row(In(Focus::Play), &[on(Esc)], Action::Back, "to the table", |_| Some("table")),
    // ---- every list
    row(Place::List, &[c('/')], Action::Filter, "only rows that fit some letters", |n| {
        n.filters.then_some("filter")
    }),
    row(Place::List, &[c('s')], Action::Sort, "another order of rows", |n| {
        n.sorts.then_some("sort")
    }),
    row(Place::List, &[c('S')], Action::SortReverse, "the same order from its end", NEVER),
    row(Place::List, &[c('y')], Action::Yank { all: false }, "copy the row's name or text", |n| {
        (!n.empty).then_some("yank")
    }),
    row(Place::List, &[c('Y')], Action::Yank { all: true }, "copy the row as JSON", NEVER),
];
