//! Lines that are typed, and lines around the wizard.

use std::path::{Path, PathBuf};

use super::{Field, Quantize};
use crate::tools::quantize;
use crate::ui::msg::Effect;
use crate::ui::screens::models::expand;
use crate::ui::theme::Role;
use crate::ui::widgets::text::shown_line;

impl Quantize {
    /// What happens, in a line.
    pub fn status(&self) -> (String, Role) {
        if let Some(doing) = &self.doing {
            if self.job.is_stopping() {
                return ("○ stopping …".into(), Role::Value);
            }
            let text = doing.at.map_or_else(
                || "working".into(),
                |(what, n, of)| format!("{what} {}%", n * 100 / of.max(1)),
            );
            return (format!("○ {text} …"), Role::Value);
        }
        if let Some(fault) = &self.fault {
            return (format!("✗ {}", shown_line(fault)), Role::Bad);
        }
        let at = self.step as usize + 1;
        let doubts = match self.open_doubts() {
            0 => String::new(),
            n => format!(" · {n} to be accepted before anything is written"),
        };
        (format!("step {at} of 6{doubts}"), if doubts.is_empty() { Role::Dim } else { Role::Warn })
    }

    /// The model, and what becomes of it.
    pub fn title(&self) -> String {
        let name = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned());
        let from = name(&self.opts.model).unwrap_or_default();
        let to = self.plan.as_ref().and_then(|p| name(Path::new(&p.preview.output)));
        if from.is_empty() {
            return String::new();
        }
        shown_line(&format!("{from} → {}", to.as_deref().unwrap_or("?")))
    }

    pub(super) fn begin_typing(&mut self, field: Field) {
        let path = |p: &Option<PathBuf>| p.as_ref().map(|p| p.display().to_string());
        let text = match field {
            Field::Model => Some(self.opts.model.display().to_string()),
            Field::Size => None,
            Field::Recipe => self.plan.as_ref().map(|p| p.preview.recipe.clone()),
            Field::Text => path(&self.opts.verify),
            Field::Limit => self.opts.max_kl.map(|x| x.to_string()),
            Field::Output => self.plan.as_ref().map(|p| p.preview.output.clone()),
        };
        self.field.set(&text.unwrap_or_default());
        self.typing = Some(field);
    }

    pub(super) fn end_typing(&mut self, keep: bool, out: &mut Vec<Effect>) {
        let (Some(field), true) = (self.typing.take(), keep) else { return };
        let text = self.field.text();
        let word = text.trim();
        let some = |w: &str| (!w.is_empty()).then(|| expand(w));
        self.fault = None;
        match field {
            Field::Model => {
                if let Some(path) = some(word) {
                    self.open(path, out);
                }
            }
            Field::Size => match quantize::size(word) {
                Ok(n) => self.recipe(|o| o.target_size = Some(n), out),
                Err(why) => self.fault = Some(format!("{word}: {why}")),
            },
            Field::Recipe if word.is_empty() => {}
            Field::Recipe => self.recipe(|o| o.recipe = Some(word.to_owned()), out),
            Field::Text => (self.opts.verify, self.trial) = (some(word), None),
            Field::Limit if word.is_empty() => self.opts.max_kl = None,
            Field::Limit => match word.parse() {
                Ok(x) if x >= 0.0 => self.opts.max_kl = Some(x),
                _ => self.fault = Some(format!("{word}: no divergence")),
            },
            Field::Output => {
                (self.opts.output, self.opts.force) = (some(word), false);
                let accepted = (self.opts.allow_fallback, self.opts.allow_requantize);
                let trial = self.trial.take();
                self.replan(false, out);
                // The same tensors under another name.
                (self.opts.allow_fallback, self.opts.allow_requantize) = accepted;
                self.trial = trial;
            }
        }
    }
}
