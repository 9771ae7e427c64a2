//! From the text of a pattern to its steps.

use super::class::{self, ClassSet, Ranges};
use super::{Mode, Op, Pattern};

/// Longest pattern: the longest known one (deepseek-llm) has 1,100 bytes.
const MAX_PATTERN: usize = 1 << 16;
/// Most steps; counted groups are written out.
const MAX_OPS: usize = 1 << 14;
/// Deepest nesting of groups.
const MAX_DEPTH: usize = 32;

/// What a pattern is made of.
#[derive(Clone, Debug)]
enum Node {
    /// One character of a class.
    Class(u64),
    /// One after the other.
    Concat(Vec<Node>),
    /// The first that matches.
    Alternate(Vec<Node>),
    /// `min` to `max` times.
    Repeat { node: Box<Node>, min: usize, max: usize, mode: Mode },
    /// Look-ahead.
    Ahead { node: Box<Node>, negated: bool },
    /// A step that takes no character.
    Step(Op),
}

/// Flags that hold for a group.
#[derive(Clone, Copy, Default)]
struct Flags {
    ignore_case: bool,
    dot_all: bool,
}

/// Compiles a pattern.
pub(super) fn compile(pattern: &str) -> Result<Pattern, String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!("it is longer than {MAX_PATTERN} bytes"));
    }
    let mut p = Parser { rest: pattern, classes: ClassSet::default(), depth: 0 };
    let node = p.alternation(Flags::default())?;
    if !p.rest.is_empty() {
        return Err("a ) too many".into());
    }
    let mut e = Emitter::default();
    e.emit(&node)?;
    e.push(Op::Match)?;
    let first = first(&e.ops);
    Ok(Pattern { ops: e.ops, classes: p.classes.finish(), first, runs: e.runs, loops: e.loops })
}

struct Parser<'a> {
    rest: &'a str,
    classes: ClassSet,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn eat(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes the first `len` bytes.
    fn take(&mut self, len: usize) -> &'a str {
        let (head, rest) = self.rest.split_at(len);
        self.rest = rest;
        head
    }

    fn class(&mut self, ranges: Ranges) -> Result<Node, String> {
        self.classes.bit(ranges).map(Node::Class)
    }

    fn newline(&mut self) -> Result<u64, String> {
        self.classes.bit(vec![(10, 10)])
    }

    fn alternation(&mut self, mut flags: Flags) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("groups are nested deeper than {MAX_DEPTH}"));
        }
        let mut branches = Vec::new();
        loop {
            branches.push(self.concat(&mut flags)?);
            if !self.eat("|") {
                break;
            }
        }
        self.depth -= 1;
        Ok(match branches.pop() {
            Some(only) if branches.is_empty() => only,
            Some(last) => {
                branches.push(last);
                Node::Alternate(branches)
            }
            None => Node::Concat(Vec::new()),
        })
    }

    fn concat(&mut self, flags: &mut Flags) -> Result<Node, String> {
        let mut items = Vec::new();
        while !matches!(self.peek(), None | Some('|' | ')')) {
            if let Some(item) = self.item(flags)? {
                items.push(self.quantified(item)?);
            }
        }
        Ok(if items.len() == 1 { items.remove(0) } else { Node::Concat(items) })
    }

    /// One atom; `None` for an inline flag, which is no atom.
    fn item(&mut self, flags: &mut Flags) -> Result<Option<Node>, String> {
        let Some(c) = self.peek() else { return Ok(None) };
        Ok(Some(match c {
            '(' => return self.group(flags),
            '[' => {
                let atom = self.take(bracket_len(self.rest)?);
                let ranges = class::parse(atom, flags.ignore_case, flags.dot_all)?;
                self.class(ranges)?
            }
            '\\' => self.escape(*flags)?,
            // Oniguruma, in which tokenizer.json is written, means lines
            '^' => {
                self.take(1);
                Node::Step(Op::Start { newline: self.newline()? })
            }
            '$' => {
                self.take(1);
                Node::Step(Op::End { newline: self.newline()? })
            }
            '*' | '+' | '?' => return Err(format!("nothing before {c} to repeat")),
            _ => {
                let atom = self.take(c.len_utf8());
                // a brace, bracket or space that stands alone means itself
                let quoted;
                let atom = if matches!(c, '{' | '}' | ']') {
                    quoted = format!("\\{c}");
                    &quoted
                } else {
                    atom
                };
                let ranges = class::parse(atom, flags.ignore_case, flags.dot_all)?;
                self.class(ranges)?
            }
        }))
    }

    fn escape(&mut self, flags: Flags) -> Result<Node, String> {
        let Some(c) = self.rest[1..].chars().next() else {
            return Err("a \\ at the end".into());
        };
        let mut len = 1 + c.len_utf8();
        let step = match c {
            'A' => Some(Op::Start { newline: 0 }),
            'z' => Some(Op::End { newline: 0 }),
            'b' | 'B' => {
                let mask = self.classes.bit(class::parse(r"\w", false, false)?)?;
                Some(Op::Word { negated: c == 'B', mask })
            }
            _ => None,
        };
        if let Some(step) = step {
            self.take(len);
            return Ok(Node::Step(step));
        }
        if matches!(c, 'p' | 'P' | 'x' | 'u' | 'U') {
            let after = &self.rest[len..];
            len += if after.starts_with('{') {
                after.find('}').ok_or("a { that is not closed")? + 1
            } else {
                let digits = match c {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    _ => 1,
                };
                after.char_indices().nth(digits).map_or(after.len(), |(i, _)| i)
            };
        }
        let atom = self.take(len);
        // Oniguruma escapes characters that need none
        let ranges = if c.is_ascii_alphanumeric() || regex_syntax::is_meta_character(c) {
            class::parse(atom, flags.ignore_case, flags.dot_all)?
        } else {
            class::parse(&atom[1..], flags.ignore_case, flags.dot_all)?
        };
        self.class(ranges)
    }

    fn group(&mut self, flags: &mut Flags) -> Result<Option<Node>, String> {
        let mut inner = *flags;
        let mut ahead = None;
        let mut behind = None;
        if self.eat("(?=") {
            ahead = Some(false);
        } else if self.eat("(?!") {
            ahead = Some(true);
        } else if self.eat("(?<=") {
            behind = Some(false);
        } else if self.eat("(?<!") {
            behind = Some(true);
        } else if self.eat("(?<") || self.eat("(?P<") {
            let end = self.rest.find('>').ok_or("a group's name is not closed")?;
            self.take(end + 1);
        } else if self.eat("(?:") {
        } else if self.eat("(?") {
            let mut on = true;
            loop {
                let c = self.peek().ok_or("a group is not closed")?;
                self.take(c.len_utf8());
                match c {
                    '-' => on = false,
                    'i' => inner.ignore_case = on,
                    's' => inner.dot_all = on,
                    ':' => break,
                    ')' => {
                        *flags = inner;
                        return Ok(None);
                    }
                    _ => return Err(format!("(?{c} is not supported")),
                }
            }
        } else {
            self.eat("(");
        }
        let node = self.alternation(inner)?;
        if !self.eat(")") {
            return Err("a group is not closed".into());
        }
        Ok(Some(match (ahead, behind) {
            (Some(negated), _) => Node::Ahead { node: Box::new(node), negated },
            (None, Some(negated)) => match node {
                Node::Class(mask) => Node::Step(Op::Behind { negated, mask }),
                _ => return Err("look-behind of more than one character is not supported".into()),
            },
            (None, None) => node,
        }))
    }

    /// An atom with the quantifiers behind it.
    fn quantified(&mut self, mut node: Node) -> Result<Node, String> {
        loop {
            let (min, max, counted) = match self.peek() {
                Some('*') => (0, usize::MAX, false),
                Some('+') => (1, usize::MAX, false),
                Some('?') => (0, 1, false),
                Some('{') => match counts(self.rest) {
                    Some((len, min, max)) => {
                        self.take(len - 1);
                        (min, max, true)
                    }
                    None => return Ok(node),
                },
                _ => return Ok(node),
            };
            self.take(1);
            if min > max {
                return Err(format!("{{{min},{max}}} is the wrong way round"));
            }
            let mode = if self.eat("?") {
                Mode::Lazy
            } else if !counted && self.eat("+") {
                Mode::Possessive
            } else {
                Mode::Greedy
            };
            node = Node::Repeat { node: Box::new(node), min, max, mode };
        }
    }
}

/// Length of the `[...]` that `s` begins with.
fn bracket_len(s: &str) -> Result<usize, String> {
    let mut depth = 0;
    let mut chars = s.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '[' => {
                depth += 1;
                chars.next_if(|x| x.1 == '^');
                // a ] at the beginning means itself
                chars.next_if(|x| x.1 == ']');
            }
            ']' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            _ => {}
        }
    }
    Err("a [ is not closed".into())
}

/// Length, minimum and maximum of the `{n,m}` that `s` begins with.
fn counts(s: &str) -> Option<(usize, usize, usize)> {
    let inner = &s[1..s.find('}')?];
    let number = |s: &str| if s.len() > 6 { None } else { s.parse::<usize>().ok() };
    let (min, max) = match inner.split_once(',') {
        None => (number(inner)?, number(inner)?),
        Some(("", "")) => return None,
        Some(("", max)) => (0, number(max)?),
        Some((min, "")) => (number(min)?, usize::MAX),
        Some((min, max)) => (number(min)?, number(max)?),
    };
    Some((inner.len() + 2, min, max))
}

#[derive(Default)]
struct Emitter {
    ops: Vec<Op>,
    runs: usize,
    loops: usize,
    ahead: bool,
}

impl Emitter {
    fn push(&mut self, op: Op) -> Result<usize, String> {
        if self.ops.len() == MAX_OPS {
            return Err(format!("it has more than {MAX_OPS} steps"));
        }
        self.ops.push(op);
        Ok(self.ops.len() - 1)
    }

    fn emit(&mut self, node: &Node) -> Result<(), String> {
        match node {
            Node::Class(mask) => self.push(Op::Class(*mask)).map(drop),
            Node::Step(op) => self.push(op.clone()).map(drop),
            Node::Concat(nodes) => nodes.iter().try_for_each(|n| self.emit(n)),
            Node::Alternate(nodes) => self.alternate(nodes),
            Node::Ahead { node, negated } => {
                let at = self.push(Op::Ahead { negated: *negated, end: 0 })?;
                let outer = std::mem::replace(&mut self.ahead, true);
                self.emit(node)?;
                self.ahead = outer;
                let end = self.push(Op::Match)? + 1;
                self.ops[at] = Op::Ahead { negated: *negated, end };
                Ok(())
            }
            Node::Repeat { node, min, max, mode } => self.repeat(node, *min, *max, *mode),
        }
    }

    fn alternate(&mut self, nodes: &[Node]) -> Result<(), String> {
        let mut jumps = Vec::new();
        for (i, node) in nodes.iter().enumerate() {
            if i + 1 == nodes.len() {
                self.emit(node)?;
                break;
            }
            let split = self.push(Op::Match)?;
            self.emit(node)?;
            jumps.push(self.push(Op::Match)?);
            let second = self.ops.len();
            self.ops[split] = Op::Split { first: split + 1, second, slot: None };
        }
        let end = self.ops.len();
        jumps.into_iter().for_each(|j| self.ops[j] = Op::Jump(end));
        Ok(())
    }

    fn repeat(&mut self, node: &Node, min: usize, max: usize, mode: Mode) -> Result<(), String> {
        if let Node::Class(mask) = node {
            let slot = self.runs;
            self.runs += 1;
            return self.push(Op::Run { mask: *mask, min, max, mode, slot }).map(drop);
        }
        if mode == Mode::Possessive {
            return Err("a possessive group is not supported".into());
        }
        for _ in 0..min {
            self.emit(node)?;
        }
        let order = |body, end| match mode {
            Mode::Lazy => (end, body),
            _ => (body, end),
        };
        if max == usize::MAX {
            if self.ahead {
                return Err("a repeated group inside a look-ahead is not supported".into());
            }
            let slot = Some(self.loops);
            self.loops += 1;
            let split = self.push(Op::Match)?;
            self.emit(node)?;
            self.push(Op::Jump(split))?;
            let (first, second) = order(split + 1, self.ops.len());
            self.ops[split] = Op::Split { first, second, slot };
            return Ok(());
        }
        let mut splits = Vec::new();
        for _ in min..max {
            splits.push(self.push(Op::Match)?);
            self.emit(node)?;
        }
        let end = self.ops.len();
        for split in splits {
            let (first, second) = order(split + 1, end);
            self.ops[split] = Op::Split { first, second, slot: None };
        }
        Ok(())
    }
}

/// The classes that a match can begin with; `None` if it can be empty.
fn first(ops: &[Op]) -> Option<u64> {
    let mut seen = vec![false; ops.len()];
    let mut todo = vec![0];
    let mut mask = 0;
    while let Some(pc) = todo.pop() {
        if std::mem::replace(&mut seen[pc], true) {
            continue;
        }
        match ops[pc] {
            Op::Class(m) => mask |= m,
            Op::Run { mask: m, min, .. } => {
                mask |= m;
                if min == 0 {
                    todo.push(pc + 1);
                }
            }
            Op::Split { first, second, .. } => todo.extend([first, second]),
            Op::Jump(to) => todo.push(to),
            Op::Ahead { end, .. } => todo.push(end),
            Op::Behind { .. } | Op::Start { .. } | Op::End { .. } | Op::Word { .. } => {
                todo.push(pc + 1)
            }
            Op::Match => return None,
        }
    }
    Some(mask)
}
