//! Markdown as it is read: a text without its markup, and what is special where (CommonMark and
//! tables, by pulldown-cmark). Takes text that may be shown already; adds nothing but bullets,
//! bars and rules.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use ratatui::style::{Modifier, Style};

use crate::ui::theme::{Role, Theme};

/// Longest text that is rendered: beyond that it stays as it is.
const MOST: usize = 1 << 18;

/// What is special about words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    bold: bool,
    italic: bool,
    struck: bool,
    code: bool,
    heading: bool,
    quiet: bool,
}

impl Look {
    /// As a style on top of the text's.
    pub fn style(&self, theme: &Theme) -> Style {
        let mut style = match self {
            Look { quiet: true, .. } => theme.style(Role::Dim),
            Look { code: true, .. } => theme.style(Role::Code),
            Look { heading: true, .. } => theme.style(Role::Title),
            _ => Style::new(),
        };
        for (on, modifier) in [
            (self.bold, Modifier::BOLD),
            (self.italic, Modifier::ITALIC),
            (self.struck, Modifier::CROSSED_OUT),
        ] {
            if on {
                style = style.add_modifier(modifier);
            }
        }
        style
    }
}

/// A text without markup, and its special parts in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rich {
    /// The words.
    pub text: String,
    /// What is special about them.
    pub spans: Vec<(Range<usize>, Look)>,
}

/// Whether rendering would change anything: looked for cheaply, by the characters of markup.
pub fn is_any(text: &str) -> bool {
    text.len() <= MOST
        && (text.contains(['*', '`', '#', '_', '|', '[', '~'])
            || text.lines().any(|l| {
                let l = l.trim_start();
                l.starts_with(['-', '+', '>']) || l.starts_with(|c: char| c.is_ascii_digit())
            }))
}

/// Renders a text.
pub fn render(text: &str) -> Rich {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut r = Renderer::default();
    for event in Parser::new_ext(text, options) {
        r.event(event);
    }
    r.out.text.truncate(r.out.text.trim_end().len());
    let end = r.out.text.len();
    r.out.spans.retain_mut(|(span, _)| {
        span.end = span.end.min(end);
        span.start < span.end
    });
    r.out
}

#[derive(Default)]
struct Renderer {
    out: Rich,
    look: Look,
    /// The lists that are open, each with the number of its next item, if it has numbers.
    lists: Vec<Option<u64>>,
    quotes: usize,
    /// Where a link goes to.
    link: Option<String>,
    in_code: bool,
    /// Whether a cell of this row was written.
    cell: bool,
}

impl Renderer {
    fn put(&mut self, text: &str, look: Look) {
        let start = self.out.text.len();
        self.out.text.push_str(text);
        if look == Look::default() || text.is_empty() {
            return;
        }
        match self.out.spans.last_mut() {
            Some((span, last)) if span.end == start && *last == look => span.end += text.len(),
            _ => self.out.spans.push((start..self.out.text.len(), look)),
        }
    }

    fn quiet(&mut self, text: &str) {
        self.put(text, Look { quiet: true, ..Look::default() });
    }

    /// A new line, with what stands before all lines here.
    fn line(&mut self) {
        self.out.text.push('\n');
        self.margin();
    }

    fn margin(&mut self) {
        for _ in 0..self.quotes {
            self.quiet("│ ");
        }
        let depth = self.lists.len().saturating_sub(1);
        self.out.text.push_str(&"  ".repeat(depth));
    }

    /// A line that is blank above what comes.
    fn gap(&mut self) {
        if self.out.text.is_empty() {
            self.margin();
            return;
        }
        while !self.out.text.ends_with("\n\n") {
            self.out.text.push('\n');
        }
        self.margin();
    }

    /// What comes stands on a line of its own.
    fn fresh(&mut self) {
        if !self.out.text.is_empty() && !self.out.text.ends_with('\n') {
            self.out.text.push('\n');
        }
        self.margin();
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.in_code => {
                let look = Look { code: true, ..Look::default() };
                let lines: Vec<&str> = text.trim_end_matches('\n').split('\n').collect();
                for (n, line) in lines.into_iter().enumerate() {
                    if n > 0 {
                        self.line();
                    }
                    self.out.text.push_str("  ");
                    self.put(line, look);
                }
                if text.ends_with('\n') {
                    self.out.text.push('\n');
                }
            }
            Event::Text(text) => self.put(&text, self.look),
            Event::Code(text) => self.put(&text, Look { code: true, ..self.look }),
            Event::Html(text) | Event::InlineHtml(text) => self.put(&text, self.look),
            // The line that the model wrote, kept: it may have meant it.
            Event::SoftBreak | Event::HardBreak => self.line(),
            Event::Rule => {
                self.gap();
                self.quiet("────────");
            }
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph if self.lists.is_empty() => self.gap(),
            Tag::Paragraph if !self.at_bullet() => self.gap(),
            Tag::Heading { level, .. } => {
                self.gap();
                self.look.heading = true;
                self.look.italic = level > HeadingLevel::H3;
            }
            // Its paragraphs write the margin.
            Tag::BlockQuote(_) => self.quotes += 1,
            Tag::CodeBlock(_) => {
                self.gap();
                self.in_code = true;
            }
            Tag::List(first) => {
                if self.lists.is_empty() {
                    self.gap();
                }
                self.lists.push(first);
            }
            Tag::Item => {
                self.fresh();
                let bullet = match self.lists.last_mut() {
                    Some(Some(n)) => {
                        *n += 1;
                        format!("{}. ", *n - 1)
                    }
                    _ => "• ".to_owned(),
                };
                self.quiet(&bullet);
            }
            Tag::Table(_) => self.gap(),
            Tag::TableHead | Tag::TableRow => {
                self.fresh();
                self.cell = false;
            }
            Tag::TableCell => {
                let first = !std::mem::replace(&mut self.cell, true);
                if !first {
                    self.quiet(" │ ");
                }
            }
            Tag::Emphasis => self.look.italic = true,
            Tag::Strong => self.look.bold = true,
            Tag::Strikethrough => self.look.struck = true,
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.link = Some(dest_url.into_string());
            }
            _ => {}
        }
    }

    /// Whether a list's bullet was just written.
    fn at_bullet(&self) -> bool {
        let bullet = |(span, _): &(Range<usize>, Look)| span.end == self.out.text.len();
        self.out.spans.last().is_some_and(bullet)
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => (self.look.heading, self.look.italic) = (false, false),
            TagEnd::BlockQuote(_) => self.quotes -= 1,
            TagEnd::CodeBlock => self.in_code = false,
            TagEnd::List(_) => drop(self.lists.pop()),
            TagEnd::Emphasis => self.look.italic = false,
            TagEnd::Strong => self.look.bold = false,
            TagEnd::Strikethrough => self.look.struck = false,
            TagEnd::Link | TagEnd::Image => {
                if let Some(url) = self.link.take()
                    && !self.out.text.ends_with(&url)
                {
                    self.quiet(&format!(" ({url})"));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(markdown: &str) -> String {
        render(markdown).text
    }

    #[test]
    fn markup_goes_and_words_stay() {
        assert_eq!(
            text("# Title\nSome **bold** and *soft* `code`."),
            "Title\n\nSome bold and soft code."
        );
        assert_eq!(text("- one\n- two\n  - deep\n\nend"), "• one\n• two\n  • deep\n\nend");
        assert_eq!(text("3. c\n4. d"), "3. c\n4. d");
        assert_eq!(text("> wise\n> words"), "│ wise\n│ words");
        assert_eq!(
            text("```rust\nfn a() {\n    b();\n}\n```\nx"),
            "  fn a() {\n      b();\n  }\n\nx"
        );
        assert_eq!(text("[here](http://a.b)"), "here (http://a.b)");
        assert_eq!(text("|a|b|\n|-|-|\n|1|2|"), "a │ b\n1 │ 2");
        assert_eq!(text("two\nlines"), "two\nlines");
    }

    #[test]
    fn looks_are_where_the_markup_was() {
        let r = render("a **b** `c`");
        let of = |n: usize| (&r.text[r.spans[n].0.clone()], r.spans[n].1);
        assert_eq!(of(0), ("b", Look { bold: true, ..Look::default() }));
        assert_eq!(of(1), ("c", Look { code: true, ..Look::default() }));
        assert_eq!(r.spans.len(), 2);
    }

    #[test]
    fn plain_prose_is_not_rendered_at_all() {
        assert!(!is_any("Once upon a time, there was a girl.\n\nThe end."));
        assert!(is_any("a **b**") && is_any("- a") && is_any("  2) x"));
    }

    proptest::proptest! {
        #[test]
        fn anything_renders_with_spans_in_order_and_in_the_text(
            text in "[a-c #*`_>|\\-\\[\\]()!0-9.\n~日]{0,120}",
        ) {
            let r = render(&text);
            let mut at = 0;
            for (span, _) in &r.spans {
                proptest::prop_assert!(span.start >= at && span.end <= r.text.len());
                proptest::prop_assert!(r.text.is_char_boundary(span.start));
                proptest::prop_assert!(r.text.is_char_boundary(span.end));
                at = span.end;
            }
        }
    }
}
