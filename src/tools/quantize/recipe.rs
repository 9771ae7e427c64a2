//! What a user asks for: a mix of types by name, and types of single tensors by pattern.

use std::fmt;
use std::path::Path;

use crate::engine::tokenizer::Pattern;
use crate::engine::{DType, Error, Result, blob, quant};

/// A mix that users ask for by name, as llama.cpp has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// As users type it; any case.
    pub name: &'static str,
    /// `general.file_type`.
    pub file_type: u32,
    /// The type that most tensors get.
    pub base: DType,
}

const fn mix(name: &'static str, file_type: u32, base: DType) -> Mix {
    Mix { name, file_type, base }
}

/// Every mix that can be written; ids are llama.cpp's `llama_ftype`.
pub const MIXES: &[Mix] = &[
    mix("F32", 0, DType::F32),
    mix("F16", 1, DType::F16),
    mix("BF16", 32, DType::BF16),
    mix("Q8_0", 7, DType::Q8_0),
    mix("Q4_0", 2, DType::Q4_0),
    mix("Q4_1", 3, DType::Q4_1),
    mix("Q5_0", 8, DType::Q5_0),
    mix("Q5_1", 9, DType::Q5_1),
    mix("Q2_K", 10, DType::Q2_K),
    mix("Q2_K_S", 21, DType::Q2_K),
    mix("Q3_K_S", 11, DType::Q3_K),
    mix("Q3_K_M", 12, DType::Q3_K),
    mix("Q3_K_L", 13, DType::Q3_K),
    mix("Q4_K_S", 14, DType::Q4_K),
    mix("Q4_K_M", 15, DType::Q4_K),
    mix("Q5_K_S", 16, DType::Q5_K),
    mix("Q5_K_M", 17, DType::Q5_K),
    mix("Q6_K", 18, DType::Q6_K),
    mix("IQ4_NL", 25, DType::IQ4_NL),
];

impl Mix {
    /// The mix of a name; `Q4_K` is `Q4_K_M`, as in llama.cpp.
    pub fn named(name: &str) -> Option<&'static Mix> {
        let name = match name.to_ascii_uppercase().as_str() {
            whole @ ("Q3_K" | "Q4_K" | "Q5_K") => format!("{whole}_M"),
            other => other.to_owned(),
        };
        MIXES.iter().find(|m| m.name == name)
    }

    /// All names, for messages.
    pub fn names() -> String {
        MIXES.iter().map(|m| m.name).collect::<Vec<_>>().join(", ")
    }
}

/// A type for the tensors whose name a pattern finds.
#[derive(Debug)]
pub struct Rule {
    /// The pattern as it was given.
    pub text: String,
    /// The type.
    pub dtype: DType,
    pattern: Pattern,
}

impl Rule {
    /// From `PATTERN=TYPE`.
    pub fn parse(text: &str) -> std::result::Result<Rule, String> {
        let (pattern, name) = text.rsplit_once('=').ok_or("want PATTERN=TYPE")?;
        let dtype = DType::from_name(name.trim())
            .filter(|t| quant::WRITABLE.contains(t))
            .ok_or_else(|| format!("{name}: no type that can be written ({})", types()))?;
        let pattern = pattern.trim();
        Ok(Rule { text: pattern.to_owned(), dtype, pattern: Pattern::new(pattern)? })
    }

    /// Whether it speaks of a tensor.
    pub fn is_for(&self, name: &str) -> bool {
        self.pattern.is_match(name)
    }
}

/// Names of the types that can be written.
pub fn types() -> String {
    quant::WRITABLE.iter().map(|t| t.name()).collect::<Vec<_>>().join(", ")
}

/// A recipe. As text: the mix on the first line, then a rule a line; `;` is a line's end too, and
/// `#` begins a comment. The same text stands in a written file under `nine.recipe`.
#[derive(Debug)]
pub struct Recipe {
    /// What tensors get that no rule speaks of.
    pub mix: &'static Mix,
    /// The first that speaks of a tensor counts.
    pub rules: Vec<Rule>,
}

impl Recipe {
    /// A mix and nothing else.
    pub fn of(mix: &'static Mix) -> Recipe {
        Recipe { mix, rules: Vec::new() }
    }

    /// From its text.
    pub fn parse(text: &str) -> std::result::Result<Recipe, String> {
        let lines = text.split(['\n', ';']).map(|l| l.split('#').next().unwrap_or("").trim());
        let mut lines = lines.filter(|l| !l.is_empty());
        let first = lines.next().ok_or("the recipe is empty")?;
        let mix = Mix::named(first).ok_or_else(|| {
            format!("{first}: no such mix; the first line is one of {}", Mix::names())
        })?;
        let rules = lines.map(|l| Rule::parse(l).map_err(|e| format!("{l}: {e}")));
        Ok(Recipe { mix, rules: rules.collect::<std::result::Result<_, _>>()? })
    }

    /// From `--recipe`: a file, or a recipe's text.
    pub fn read(given: &str) -> Result<Recipe> {
        if !Path::new(given).is_file() {
            return Recipe::parse(given)
                .map_err(|e| Error::Invalid(format!("--recipe: no such file, and as text: {e}")));
        }
        /// A recipe of more has a line for every tensor of the largest models.
        const MAX: u64 = 1 << 20;
        let path = Path::new(given);
        let text = String::from_utf8(blob::read_small(path, MAX)?);
        let text = text.map_err(|_| Error::malformed(path, "is no text", None))?;
        Recipe::parse(&text).map_err(|e| Error::malformed(path, e, None))
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mix.name)?;
        self.rules.iter().try_for_each(|r| write!(f, ";{}={}", r.text, r.dtype))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_reads_as_it_is_shown() {
        let text = "q4_k # most\n blk\\.\\d+\\.attn_v=Q6_K\n\n^token_embd\\.weight$=q8_0";
        let recipe = Recipe::parse(text).unwrap();
        let shown = recipe.to_string();
        assert_eq!(shown, r"Q4_K_M;blk\.\d+\.attn_v=Q6_K;^token_embd\.weight$=Q8_0");
        assert_eq!(Recipe::parse(&shown).unwrap().to_string(), shown);
        assert!(recipe.rules[0].is_for("blk.12.attn_v.weight"));
        assert!(!recipe.rules[1].is_for("xtoken_embd.weight"));
        assert!(Recipe::parse("").unwrap_err().contains("empty"));
        assert!(Recipe::parse("Q9").unwrap_err().contains("Q4_K_M"));
        assert!(Recipe::parse("Q8_0;x").unwrap_err().contains("PATTERN=TYPE"));
        assert!(Recipe::parse("Q8_0;(=F16").is_err());
        assert!(Recipe::parse("Q8_0;x=IQ1_S").unwrap_err().contains("IQ1_S"));
    }
}
