//! Options as the command line that says the same.

use super::Opts;
use crate::engine::kernels::Isa;
use crate::tools::opts::Wanted;

impl Opts {
    /// The command line that does what these options do. A shell reads every word of it as it is
    /// here.
    pub fn command(&self) -> String {
        let mut out = String::from("nine-tui quantize");
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                let space = if name.is_empty() { "" } else { " " };
                out.push_str(&format!(" {name}{space}{}", quoted(&value)));
            }
        };
        let path = |p: &Option<std::path::PathBuf>| p.as_ref().map(|p| p.display().to_string());
        let model = self.model.display().to_string();
        // A word that begins with a hyphen would be an option.
        let model = if model.starts_with('-') { format!("./{model}") } else { model };
        put("", Some(model));
        put("-o", path(&self.output));
        put("--type", self.mix.map(|m| m.name.to_owned()));
        put("--recipe", self.recipe.clone());
        self.tensor.iter().for_each(|t| put("--tensor", Some(t.clone())));
        put("--target-bpw", self.target_bpw.map(|x| x.to_string()));
        put("--target-size", self.target_size.map(|n| n.to_string()));
        put("--imatrix", path(&self.imatrix));
        put("--imatrix-from", path(&self.imatrix_from));
        put("--verify", path(&self.verify));
        put("--max-kl", self.max_kl.map(|x| x.to_string()));
        put("--min-top1", self.min_top1.map(|x| x.to_string()));
        put("--chunks", self.chunks.map(|n| n.to_string()));
        put("--threads", (self.compute.threads > 0).then(|| self.compute.threads.to_string()));
        let isa = match self.compute.simd {
            Some(Wanted::Isa(isa)) => Some(isa),
            _ if self.compute.no_simd => Some(Isa::Scalar),
            _ => None,
        };
        put("--simd", isa.map(|i| i.name().to_owned()));
        put("--tokenizer", path(&self.files.tokenizer));
        put("--pre", self.files.pre.clone());
        for (name, is) in [
            ("--allow-fallback", self.allow_fallback),
            ("--allow-requantize", self.allow_requantize),
            ("--force", self.force),
            ("--exact", self.compute.exact),
            ("--no-mmap", self.files.no_mmap),
            ("--dry-run", self.dry_run),
            ("--json", self.json),
        ] {
            if is {
                out.push_str(&format!(" {name}"));
            }
        }
        out
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::quantize::recipe::Mix;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        opts: Opts,
    }

    #[test]
    fn the_command_line_of_options_is_read_as_those_options() {
        let mut opts = Opts::of("my models/it's.gguf".into());
        opts.output = Some("out.gguf".into());
        opts.mix = Mix::named("Q4_K_M");
        opts.tensor = vec![r"^blk\.0\.attn_v\.weight$=Q8_0".into()];
        opts.verify = Some("sample".into());
        opts.max_kl = Some(0.05);
        opts.allow_fallback = true;
        opts.force = true;
        opts.compute.threads = 3;
        let text = opts.command();
        let words = shell(text.strip_prefix("nine-tui ").unwrap());
        let read = Line::try_parse_from(words).unwrap().opts;
        assert_eq!(format!("{read:?}"), format!("{opts:?}"), "{text}");
    }

    /// Words as a shell has them, of what `quoted` writes.
    fn shell(text: &str) -> Vec<String> {
        let (mut words, mut word, mut inside) = (Vec::new(), String::new(), false);
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\'' => inside = !inside,
                '\\' if !inside => word.extend(chars.next()),
                ' ' if !inside => words.push(std::mem::take(&mut word)),
                c => word.push(c),
            }
        }
        words.push(word);
        words
    }
}
