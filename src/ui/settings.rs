//! The user's settings, from `config.toml` and `keymap.toml`. What is wrong in them is said and
//! changes nothing; the rest holds.

use std::path::Path;

use super::keymap::{Keymap, unknown};
use super::screens::chat::Colour;
use super::theme::Palette;

/// All keys of `config.toml`.
const KEYS: [&str; 5] = ["theme", "ascii", "mouse", "tokens", "keep"];

/// Settings, each of them only where the user gave it.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `theme = "16" | "dark" | "light" | "none"`.
    pub palette: Option<Palette>,
    /// `ascii = true`: draw ASCII only.
    pub ascii: bool,
    /// `mouse = false`: leave the mouse to the terminal.
    pub mouse: Option<bool>,
    /// `tokens = "probability"`: what tokens are told apart by.
    pub colour: Option<Colour>,
    /// `keep = false`: write no conversation down.
    pub keep: Option<bool>,
    /// The keys.
    pub keys: Keymap,
    /// What is wrong, in sentences.
    pub problems: Vec<String>,
}

impl Settings {
    /// Those of a folder. Files that are not there say nothing.
    pub fn read(folder: &Path) -> Settings {
        let mut out = Settings::default();
        let mut text = |name: &str| {
            let path = folder.join(name);
            match std::fs::read_to_string(&path) {
                Ok(text) => Some((path.display().to_string(), text)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
                Err(e) => {
                    out.problems.push(format!("{}: {e}", path.display()));
                    None
                }
            }
        };
        let (config, keymap) = (text("config.toml"), text("keymap.toml"));
        if let Some((path, text)) = config {
            let problems = out.parse(&text);
            out.problems.extend(problems.into_iter().map(|p| format!("{path}: {p}")));
        }
        if let Some((path, text)) = keymap {
            let (keys, problems) = Keymap::read(&text);
            out.keys = keys;
            out.problems.extend(problems.into_iter().map(|p| format!("{path}: {p}")));
        }
        out
    }

    fn parse(&mut self, text: &str) -> Vec<String> {
        let table: toml::Table = match toml::from_str(text) {
            Ok(table) => table,
            Err(e) => {
                let line = e.span().map_or(1, |s| text[..s.start.min(text.len())].lines().count());
                return vec![format!("line {}: {}", line.max(1), e.message())];
            }
        };
        table.iter().filter_map(|(key, value)| self.set(key, value).err()).collect()
    }

    fn set(&mut self, key: &str, value: &toml::Value) -> Result<(), String> {
        let truth = || value.as_bool().ok_or_else(|| format!("{key}: true or false is expected"));
        let one_of = |names: &[&str]| {
            value
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| format!("{key}: one of {} is expected, in quotes", names.join(", ")))
        };
        match key {
            "theme" => {
                let names = Palette::ALL.map(|(n, _)| n);
                let name = one_of(&names)?;
                let palette = Palette::from_name(&name);
                self.palette = Some(palette.ok_or_else(|| unknown("theme", &name, &names))?);
            }
            "tokens" => {
                let names = Colour::ALL.map(|(n, _)| n);
                let name = one_of(&names)?;
                let colour = Colour::from_name(&name);
                self.colour = Some(colour.ok_or_else(|| unknown("tokens", &name, &names))?);
            }
            "ascii" => self.ascii = truth()?,
            "mouse" => self.mouse = Some(truth()?),
            "keep" => self.keep = Some(truth()?),
            other => return Err(unknown("setting", other, &KEYS)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_and_the_rest_holds() {
        let mut s = Settings::default();
        let problems = s.parse("them = \"dark\"\nmouse = false\ntokens = \"rnk\"\nascii = 3\n");
        assert_eq!(s.mouse, Some(false));
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems.iter().any(|p| p.contains("did you mean \"theme\"?")), "{problems:?}");
        assert!(problems.iter().any(|p| p.contains("did you mean \"rank\"?")), "{problems:?}");
        assert!(s.parse("theme = ")[0].starts_with("line 1"));
    }

    #[test]
    fn a_folder_without_files_says_nothing() {
        assert!(Settings::read(Path::new("/nowhere/at/all")).problems.is_empty());
    }
}
