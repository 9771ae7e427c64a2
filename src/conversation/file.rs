//! A conversation's file: a line of JSON for everything that happened, appended as it happens.
//!
//! What a killed program leaves is whole up to the last line; half a line at the end is left out,
//! and said.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::tree::{Body, End, Place, Record, Reply, Rival, Tree};
use crate::engine::error::{Error, Result};
use crate::engine::kv::KvType;
use crate::engine::model::Card;
use crate::engine::sampler::{Cut, Params};
use crate::engine::session::Piece;
use crate::engine::tokenizer::Token;

/// The version of the format.
pub const NINE: u32 = 1;

/// Which model it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelId {
    /// The file or folder.
    pub path: String,
    /// Its name.
    pub name: String,
    /// The commonest weight type.
    #[serde(rename = "type")]
    pub dtype: String,
    /// Bytes of all weights.
    pub bytes: u64,
    /// [`Card::fingerprint`], in hexadecimal.
    pub fingerprint: String,
    /// [`Card::template_hash`], in hexadecimal; none in completion mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The instruction set that computed.
    pub kernels: String,
}

impl ModelId {
    /// A model by its card.
    pub fn of(card: &Card) -> ModelId {
        ModelId {
            path: card.path.display().to_string(),
            name: card.name.clone(),
            dtype: card.dtype.clone(),
            bytes: card.weight_bytes,
            fingerprint: format!("{:016x}", card.fingerprint),
            template: card.template_hash.map(|h| format!("{h:016x}")),
            kernels: card.kernels.clone(),
        }
    }
}

/// What holds for a whole conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`NINE`].
    pub nine: u32,
    /// The program's version.
    pub version: String,
    /// When it began, as text.
    #[serde(default)]
    pub created: String,
    /// The model.
    pub model: ModelId,
    /// Instructions for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Positions of the session.
    pub n_ctx: usize,
    /// How K and V were stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv: Option<KvType>,
    /// Stop texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Candidates told with every token.
    #[serde(default)]
    pub top: usize,
    /// Whether the reference path computed.
    #[serde(default)]
    pub exact: bool,
    /// Another tokenizer's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Another pre-tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre: Option<String>,
}

/// A candidate as a line has it: id, text, logprob, probability after all knobs, stage that cut it.
type RivalLine = (Token, Box<str>, Option<f32>, f32, Option<Cut>);

/// A token as a line has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLine {
    /// The reply.
    pub node: usize,
    /// The token.
    pub id: Token,
    /// Text that became whole with it.
    pub text: Box<str>,
    /// Natural logarithm of its probability before any knob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprob: Option<f32>,
    /// Its probability after all knobs.
    pub p_final: f32,
    /// How many were more probable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// Entropy in bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy: Option<f32>,
    /// Survivors of all knobs.
    #[serde(default)]
    pub kept: u32,
    /// What they held together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mass: Option<f32>,
    /// State of the random numbers after it.
    pub rng: u64,
    /// Seconds.
    #[serde(default)]
    pub secs: f32,
    /// Whether somebody chose it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Candidates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<RivalLine>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// The first: what holds for all.
    Session(Header),
    /// The person said something.
    Message {
        /// Its number: one more than the node before.
        node: usize,
        /// Behind what it stands.
        parent: Option<Place>,
        /// The words.
        text: String,
    },
    /// A reply, or a stretch of one, begins.
    Reply {
        /// Its number.
        node: usize,
        /// Behind what it stands.
        parent: Option<Place>,
        /// What the person wrote for the model to go on with.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        lead: String,
        /// The knobs.
        params: Params,
        /// State of the random numbers.
        rng: u64,
    },
    /// The context before a reply's first token.
    Prompt {
        /// The reply.
        node: usize,
        /// How many tokens are those of the context before (see [`Tree::context_before`]).
        keep: usize,
        /// The tokens after them.
        tokens: Vec<Token>,
    },
    /// A token was made.
    Token(TokenLine),
    /// Knobs were turned.
    Knobs {
        /// The reply.
        node: usize,
        /// Tokens before.
        at: usize,
        /// All knobs.
        params: Params,
    },
    /// A reply stopped.
    End {
        /// The reply.
        node: usize,
        /// How.
        #[serde(flatten)]
        end: End,
    },
    /// Somebody went elsewhere in the conversation.
    Head {
        /// Where to; nothing is the very beginning.
        place: Option<Place>,
    },
    /// What a later version writes and this one does not know.
    #[serde(other)]
    Unknown,
}

/// JSON has no infinity: a banned token's bias is the least number instead.
fn finite(params: &Params) -> Params {
    let mut out = params.clone();
    out.logit_bias.iter_mut().for_each(|(_, b)| *b = b.clamp(-f32::MAX, f32::MAX));
    out
}

fn infinite(mut params: Params) -> Params {
    for (_, bias) in &mut params.logit_bias {
        if *bias <= -f32::MAX {
            *bias = f32::NEG_INFINITY;
        }
    }
    params
}

impl Line {
    /// A knobs' line.
    pub fn knobs(node: usize, at: usize, params: &Params) -> Line {
        Line::Knobs { node, at, params: finite(params) }
    }

    /// The line of a node that was just added.
    pub fn node(tree: &Tree, node: usize) -> Option<Line> {
        let n = tree.node(node)?;
        Some(match &n.body {
            Body::Message(text) => Line::Message { node, parent: n.parent, text: text.clone() },
            Body::Reply(r) => Line::Reply {
                node,
                parent: n.parent,
                lead: r.lead.clone(),
                params: finite(&r.params),
                rng: r.rng,
            },
        })
    }

    /// The line of a token.
    pub fn token(node: usize, record: &Record) -> Line {
        let rival = |r: &Rival| {
            let logprob = r.logprob.is_finite().then_some(r.logprob);
            (r.id, Box::from(&*r.text), logprob, r.p_final, r.cut)
        };
        Line::Token(TokenLine {
            node,
            id: record.id,
            text: Box::from(&*record.text),
            logprob: record.logprob.filter(|l| l.is_finite()),
            p_final: record.p_final,
            rank: record.rank,
            entropy: record.entropy,
            kept: record.kept,
            mass: record.kept_mass,
            rng: record.rng,
            secs: record.secs,
            forced: record.forced,
            top: record.top.iter().map(rival).collect(),
        })
    }

    /// The line of the context before a reply, as what it adds to the one before.
    pub fn prompt(tree: &Tree, node: usize, tokens: &[Token]) -> Line {
        let before = tree.context_before(tree.node(node).and_then(|n| n.parent));
        let keep = before.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        Line::Prompt { node, keep, tokens: tokens[keep..].to_vec() }
    }

    /// The line as text, line feed included.
    pub fn text(&self) -> String {
        // Plain data with text keys: this cannot fail but for memory.
        let mut out = serde_json::to_string(self).unwrap_or_default();
        out.push('\n');
        out
    }
}

/// A conversation read back.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// What holds for all of it.
    pub header: Header,
    /// The tree, its head where it was left.
    pub tree: Tree,
    /// What was odd, in sentences.
    pub notes: Vec<String>,
}

/// Reads a conversation's file.
///
/// # Errors
/// Where the file cannot be read, or a line other than the last is not what it should be.
pub fn read(path: &Path) -> Result<Saved> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    parse(path, &bytes)
}

/// [`read`] of bytes; `path` is for the error.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Saved> {
    let mut saved = Saved::default();
    let mut lines = bytes.split(|b| *b == b'\n').enumerate().peekable();
    let mut offset = 0;
    while let Some((n, line)) = lines.next() {
        let at = offset;
        offset += line.len() as u64 + 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let bad =
            |what: String| Error::malformed(path, format!("line {}: {what}", n + 1), Some(at));
        let parsed: Line = match serde_json::from_slice(line) {
            Ok(line) => line,
            Err(_) if lines.peek().is_none() && n > 0 => {
                saved.notes.push("the last line is not whole and was left out".into());
                break;
            }
            Err(e) => return Err(bad(e.to_string())),
        };
        match (n, &parsed) {
            (0, Line::Session(header)) if header.nine == NINE => saved.header = header.clone(),
            (0, Line::Session(header)) => {
                return Err(bad(format!("format {} is not known, only {NINE}", header.nine)));
            }
            (0, _) => return Err(bad("a session's first line tells of the session".into())),
            _ => apply(&mut saved, parsed).map_err(bad)?,
        }
    }
    if saved.header.nine != NINE {
        return Err(Error::malformed(path, "no session is in it", None));
    }
    Ok(saved)
}

/// Does to the tree what a line tells.
fn apply(saved: &mut Saved, line: Line) -> std::result::Result<(), String> {
    let tree = &mut saved.tree;
    let next = tree.nodes().len();
    let no_reply = |node: usize| format!("node {node} is not a reply");
    let added = |node: usize, done: Option<usize>| match done {
        Some(n) if n == node => Ok(()),
        Some(_) => Err(format!("node {node} where {next} comes next")),
        None => Err(format!("node {node} stands behind a place that is not there")),
    };
    match line {
        Line::Session(_) => return Err("a second session begins".into()),
        Line::Message { node, parent, text } => {
            added(node, tree.add(parent, Body::Message(text)))?;
        }
        Line::Reply { node, parent, lead, params, rng } => {
            let reply = Reply {
                lead,
                prompt: Vec::new(),
                params: infinite(params),
                rng,
                tokens: Vec::new(),
                knobs: Vec::new(),
                end: None,
            };
            added(node, tree.add(parent, Body::Reply(Box::new(reply))))?;
        }
        Line::Prompt { node, keep, tokens } => {
            let mut prompt = tree.context_before(tree.node(node).and_then(|n| n.parent));
            if keep > prompt.len() {
                return Err(format!("keeps {keep} tokens of {}", prompt.len()));
            }
            prompt.truncate(keep);
            prompt.extend(tokens);
            tree.reply_mut(node).ok_or_else(|| no_reply(node))?.prompt = prompt;
        }
        Line::Token(line) => {
            let node = line.node;
            let record = record(tree, line);
            if !tree.push(node, record) {
                return Err(no_reply(node));
            }
        }
        Line::Knobs { node, at, params } => {
            let reply = tree.reply_mut(node).ok_or_else(|| no_reply(node))?;
            if at > reply.tokens.len() {
                return Err(format!("knobs behind {at} tokens of {}", reply.tokens.len()));
            }
            reply.knobs.push((at, infinite(params)));
        }
        Line::End { node, end } => {
            tree.reply_mut(node).ok_or_else(|| no_reply(node))?.end = Some(end);
        }
        Line::Head { place } => {
            if place.is_some_and(|p| !tree.holds(p)) {
                return Err("the head is at a place that is not there".into());
            }
            tree.go(place);
        }
        Line::Unknown => {
            let note = "lines of a later version were left out".to_owned();
            if !saved.notes.contains(&note) {
                saved.notes.push(note);
            }
        }
    }
    Ok(())
}

fn record(tree: &mut Tree, line: TokenLine) -> Record {
    let top = line.top.into_iter().map(|(id, text, logprob, p_final, cut)| Rival {
        id,
        text: tree.intern(&text),
        logprob: logprob.unwrap_or(f32::NEG_INFINITY),
        p_final,
        cut,
    });
    let top = top.collect();
    Record {
        id: line.id,
        text: tree.intern(&line.text),
        logprob: line.logprob,
        p_final: line.p_final,
        rank: line.rank,
        entropy: line.entropy,
        kept: line.kept,
        kept_mass: line.mass,
        rng: line.rng,
        secs: line.secs,
        forced: line.forced,
        top,
    }
}

/// Adds a token that the engine made to a reply, and gives its line.
pub fn push(tree: &mut Tree, node: usize, piece: &Piece) -> Option<Line> {
    let record = tree.record(piece);
    let line = Line::token(node, &record);
    tree.push(node, record).then_some(line)
}
