//! As much of Plan 9's shell as the ancestor's sessions need: `echo`, `cat`, `>`, quotes, variables
//! and `` `{…} ``. What only concerns the machine it runs on (`llmfs`, `srv`, `mount`, `aux/listen1`)
//! is looked at, and done by the test around it.

use std::collections::HashMap;

use nine_tui::llmfs::p9::Client;

/// A shell whose /mnt/llm is a server.
pub struct Rc<'a> {
    pub mnt: &'a mut Client,
    vars: HashMap<String, String>,
}

/// A line of a script and what it printed.
pub type Said = (String, String);

impl<'a> Rc<'a> {
    pub fn new(mnt: &'a mut Client) -> Rc<'a> {
        Rc { mnt, vars: HashMap::new() }
    }

    /// Runs a script, line by line.
    pub fn run(&mut self, script: &str) -> Vec<Said> {
        let lines = script.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        lines.map(|line| (line.to_owned(), self.line(line))).collect()
    }

    fn line(&mut self, line: &str) -> String {
        if let Some((name, rest)) = line.split_once("=`{") {
            let value = self.line(rest.trim_end_matches('}'));
            self.vars.insert(name.into(), value.trim_end().into());
            return String::new();
        }
        let words = self.words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["echo", text @ .., ">", path] => {
                let text = format!("{}\n", text.join(" "));
                let path = place(path);
                self.mnt.put(path, text.as_bytes()).unwrap_or_else(|e| panic!("{line}: {e}"));
                String::new()
            }
            ["cat", path] => {
                let bytes = self.mnt.get(place(path)).unwrap_or_else(|e| panic!("{line}: {e}"));
                String::from_utf8(bytes).unwrap()
            }
            ["./llmfs", "-s", "llm"] | ["srv", _, "llm"] | ["mount", "/srv/llm", "/mnt/llm"] => {
                String::new()
            }
            ["aux/listen1", ..] => String::new(),
            _ => panic!("rc knows no {line}"),
        }
    }

    /// The words of a line; a comment ends it.
    fn words(&self, line: &str) -> Vec<String> {
        let mut words = vec![];
        let mut word: Option<String> = None;
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '#' if word.is_none() => break,
                ' ' => words.extend(word.take()),
                '\'' => {
                    let into = word.get_or_insert_default();
                    into.extend(chars.by_ref().take_while(|c| *c != '\''));
                }
                '$' => {
                    let mut name = String::new();
                    while let Some(c) = chars.next_if(|c| c.is_alphanumeric()) {
                        name.push(c);
                    }
                    let value = self.vars.get(&name).unwrap_or_else(|| panic!("no ${name}"));
                    word.get_or_insert_default().push_str(value);
                }
                c => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        words
    }
}

/// A path below the mount point, or below the post of the server itself.
fn place(path: &str) -> &str {
    let below = ["/mnt/llm/", "/srv/llm/"].iter().find_map(|m| path.strip_prefix(m));
    below.unwrap_or_else(|| panic!("{path} is not below /mnt/llm"))
}

/// What the line printed that begins with `start`.
pub fn printed<'a>(said: &'a [Said], start: &str) -> &'a str {
    let found = said.iter().find(|(line, _)| line.starts_with(start));
    &found.unwrap_or_else(|| panic!("{start} is not in the script")).1
}
