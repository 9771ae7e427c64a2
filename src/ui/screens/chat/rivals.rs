//! The alternatives at a token: what the model held of each, what the knobs left of it, and which
//! of them cut it.

use ratatui::buffer::{Buffer, CellWidth};
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget};

use super::Chat;
use super::act::cut_word;
use crate::conversation::{Place, Record};
use crate::ui::theme::{Role, Theme};
use crate::ui::widgets::meter;
use crate::ui::widgets::pane::pane;
use crate::ui::widgets::text::{clip, one_line};

/// Cells of the pane.
const WIDTH: u16 = 56;
/// Cells of a token's text.
const WORD: u16 = 14;

impl Chat {
    /// Draws the alternatives at the cursor beside the token, within `area`.
    pub(super) fn draw_rivals(&self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let Some(place) = self.view.cursor_place() else { return };
        let Some(record) = self.record_at(place) else { return };
        let rows = u16::try_from(record.top.len()).unwrap_or(u16::MAX).max(1).saturating_add(5);
        let (width, height) = (WIDTH.min(area.width), rows.min(area.height));
        let cursor = self.view.cursor.and_then(|c| Some((c.item, c.token?)));
        let at = cursor.and_then(|(item, token)| self.view.transcript.cell_of(item, token));
        let (x, y) = at.unwrap_or((area.x, area.y));
        let x = x.saturating_sub(2).min(area.right() - width).max(area.x);
        // Below the token where there is room, else above it: it stays in view.
        let y = if y + 1 + height <= area.bottom() {
            y + 1
        } else if y >= area.y + height {
            y - height
        } else {
            area.bottom() - height
        };
        let area = Rect { x, y, width, height };
        Clear.render(area, buf);
        let note = format!("token {} of the reply", place.at + 1);
        let inner = pane(area, buf, theme, "Alternatives", &note, true);
        self.draw_record(inner, buf, theme, record, place);
    }

    fn draw_record(
        &self,
        area: Rect,
        buf: &mut Buffer,
        theme: &Theme,
        record: &Record,
        place: Place,
    ) {
        let dim = theme.style(Role::Dim);
        let mut lines = area.top()..area.bottom();
        let Some(y) = lines.next() else { return };
        buf.set_stringn(area.x, y, "  token             raw p     final", area.width.into(), dim);
        let (mut told, mut last) = (0.0, Vec::new());
        for (n, rival) in record.top.iter().enumerate() {
            told += rival.logprob.exp();
            let Some(y) = lines.next().filter(|y| y + 2 < area.bottom()) else { break };
            let (chosen, taken) = (n == self.rival, rival.id == record.id);
            let role = match (chosen, rival.cut) {
                (true, _) => Role::Chosen,
                (_, Some(_)) => Role::Dim,
                _ => Role::Text,
            };
            let mark = if chosen { "▸ " } else { "  " };
            let x = buf.set_stringn(area.x, y, mark, 2, theme.style(Role::Focus)).0;
            let word = clip(&one_line(&rival.text), WORD);
            let gap = usize::from(WORD - word.as_str().cell_width().min(WORD));
            let text = format!(
                "{word}{:gap$} {:>6.2}%  {:>6.2}%",
                "",
                rival.logprob.exp() * 100.0,
                rival.p_final * 100.0
            );
            let left = usize::from(area.right().saturating_sub(x));
            let x = buf.set_stringn(x, y, text, left, theme.style(role)).0;
            let tail = match (taken, rival.cut) {
                (true, _) if record.forced => "← picked".into(),
                (true, _) => "← taken".into(),
                (_, Some(cut)) => format!("cut by {}", cut_word(cut)),
                _ => meter::bar(rival.logprob.exp().into(), 8),
            };
            let role = if taken { Role::Value } else { Role::Dim };
            let left = usize::from(area.right().saturating_sub(x + 2));
            buf.set_stringn(x + 2, y, tail, left, theme.style(role));
        }
        let rest = (1.0 - told).max(0.0) * 100.0;
        let mass = record.kept_mass.map_or(String::new(), |m| format!(", {:.1}% of p", m * 100.0));
        last.push(format!("  others {rest:.2}% · kept {}{mass}", record.kept));
        let mut facts = Vec::new();
        if let (Some(p), Some(rank)) = (record.p(), record.rank) {
            facts.push(format!("p {:.2}% · rank {}", p * 100.0, rank + 1));
        }
        if let Some(h) = record.entropy {
            facts.push(format!("{h:.2} bits"));
        }
        facts.push(format!("{:.1} ms", record.secs * 1000.0));
        if let Some(params) = self.tree.params_at(place) {
            facts.push(format!("temp {}", params.temp));
        }
        last.push(format!("  {}", facts.join(" · ")));
        for (n, text) in last.iter().enumerate() {
            let y = area.bottom().saturating_sub(2) + n as u16;
            if y > area.y && y < area.bottom() {
                buf.set_stringn(area.x, y, clip(text, area.width), area.width.into(), dim);
            }
        }
    }
}
