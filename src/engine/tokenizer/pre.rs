//! The pre-tokenizers that GGUF files name (`tokenizer.ggml.pre`), as a table.
//!
//! The patterns are those of the models' own tokenizer.json files. Where llama.cpp has to write one
//! differently for its engine, the original counts.

use super::pretok::{Behaviour, Stage};

/// GPT-2's own.
pub(super) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Llama 3: contractions in either case, digits in threes, newlines on their own.
const LLAMA3: &str = concat!(
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Qwen 2: as Llama 3, digits one by one.
const QWEN2: &str = concat!(
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Qwen 3.5: as Qwen 2, marks belong to letters.
const QWEN35: &str = concat!(
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
    r"|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Words of capitals, then small letters, with a contraction at the end; digits in threes.
const GPT4O: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Mistral's Tekken: the same without contractions, digits one by one.
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Cased letters, as DeepSeek's file lists them.
const DEEPSEEK_LETTERS: &str = concat!(
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ",
    r"Ὗ-ώᾀ-ᾴᾶ-ᾼ\u{1FBE}ῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ",
    r"𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
);
/// Punctuation, as DeepSeek's file lists it.
const DEEPSEEK_MARKS: &str = r"\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+";
/// Chinese, Korean and what lies between.
const DEEPSEEK_CJK: &str = r"[一-龥ࠀ-一가-퟿]+";
/// DeepSeek V3.
const DEEPSEEK_V3: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Bloom and its family: words up to a separator.
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
/// A run of lines or a run of newlines: what SentencePiece-like merging is done within.
const LINES: &str = r"[^\n]+|[\n]+";

/// A pre-tokenizer.
pub(super) struct Pre {
    /// The names that files use for it.
    pub(super) names: &'static [&'static str],
    /// Patterns, one stage each; every match and every gap is a piece.
    pub(super) splits: &'static [&'static str],
    /// Digits are grouped from the right before anything else.
    threes: bool,
    /// A piece that is a token as it stands is not merged.
    pub(super) whole_words: bool,
    /// A prompt begins with BOS unless the file says otherwise.
    pub(super) add_bos: bool,
    /// Spaces are written `▁`, text is merged in UTF-8, what has no token is spelled `<0xXX>`.
    pub(super) spaced: bool,
}

const fn pre(names: &'static [&'static str], splits: &'static [&'static str]) -> Pre {
    Pre { names, splits, threes: false, whole_words: false, add_bos: false, spaced: false }
}

/// All of them. `default` is for files that name none.
pub(super) const PRES: &[Pre] = &[
    pre(
        &[
            "gpt-2",
            "mpt",
            "olmo",
            "jais",
            "phi-2",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "exaone4",
            "trillion",
            "granite-docling",
            "modern-bert",
        ],
        &[GPT2],
    ),
    Pre {
        whole_words: true,
        add_bos: true,
        ..pre(
            &[
                "llama-bpe",
                "llama3",
                "llama-v3",
                "falcon3",
                "falcon-h1",
                "pixtral",
                "midm-2.0",
                "lfm2",
            ],
            &[LLAMA3],
        )
    },
    pre(&["dbrx", "smaug-bpe", "chatglm-bpe"], &[LLAMA3]),
    Pre { whole_words: true, ..pre(&["glm4", "glm5"], &[LLAMA3]) },
    Pre { whole_words: true, ..pre(&["minicpm5"], &[r"\p{N}{1,3}", LLAMA3]) },
    pre(
        &[
            "qwen2",
            "deepseek-r1-qwen",
            "kormo",
            "megrez",
            "stablelm2",
            "hunyuan",
            "solar-open",
            "grok-2",
        ],
        &[QWEN2],
    ),
    pre(&["laguna"], &[LINES, QWEN2]),
    pre(&["qwen35"], &[QWEN35]),
    pre(
        &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        &[r"\p{N}", GPT2],
    ),
    pre(&["falcon"], &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"]),
    pre(
        &["deepseek-llm"],
        &[r"[\r\n]", DEEPSEEK_LETTERS, DEEPSEEK_MARKS, r"\s+$", DEEPSEEK_CJK, r"\p{N}+"],
    ),
    pre(&["deepseek-coder"], &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_CJK, r"\p{N}"]),
    pre(
        &["deepseek-v3", "hunyuan-dense", "joyai-llm"],
        &[r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK_V3],
    ),
    pre(&["gpt-4o", "llama4", "kanana2", "minimax-m2"], &[GPT4O]),
    Pre { whole_words: true, add_bos: true, ..pre(&["tekken"], &[TEKKEN]) },
    Pre { threes: true, ..pre(&["tiny_aya", "cohere2moe"], &[GPT4O]) },
    pre(&["bloom", "poro-chat", "gpt3-finnish"], &[BLOOM]),
    pre(&["viking"], &[BLOOM, r"\p{N}"]),
    pre(
        &["bailingmoe", "bailingmoe2", "llada-moe"],
        &[concat!(
            r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
        )],
    ),
    pre(
        &["seed-coder"],
        &[concat!(
            r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
            r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
        )],
    ),
    pre(&["default"], &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"]),
    Pre { add_bos: true, spaced: true, ..pre(&["gemma4"], &[LINES]) },
];

/// A pre-tokenizer by one of its names.
pub(super) fn find(name: &str) -> Option<&'static Pre> {
    PRES.iter().find(|p| p.names.contains(&name))
}

/// All names, for messages.
pub(super) fn names() -> String {
    PRES.iter().flat_map(|p| p.names).copied().collect::<Vec<_>>().join(", ")
}

/// The names of pre-tokenizers that do the same as some stages; those that merge whole words only.
pub(super) fn alike(stages: &[Stage], whole_words: bool) -> Option<&'static str> {
    let shown = format!("{stages:?}");
    let same = |p: &&Pre| {
        !p.spaced
            && p.whole_words == whole_words
            && p.stages().is_ok_and(|own| format!("{own:?}") == shown)
    };
    PRES.iter().find(same).and_then(|p| p.names.first()).copied()
}

/// A named pre-tokenizer as tokenizer.json writes it, and whether whole words are not merged; `None`
/// if it is not known, or tokenizer.json has no words for it.
pub fn to_json(name: &str) -> Option<(serde_json::Value, bool)> {
    let pre = find(name).filter(|p| !p.threes && !p.spaced)?;
    let split = |s: &&str| {
        serde_json::json!({
            "type": "Split", "pattern": {"Regex": s}, "behavior": "Isolated", "invert": false,
        })
    };
    let mut all: Vec<serde_json::Value> = pre.splits.iter().map(split).collect();
    all.push(serde_json::json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false,
    }));
    Some((serde_json::json!({"type": "Sequence", "pretokenizers": all}), pre.whole_words))
}

impl Pre {
    /// The stages it stands for.
    pub(super) fn stages(&self) -> Result<Vec<Stage>, String> {
        let mut stages = Vec::new();
        if self.threes {
            stages.push(Stage::Threes);
        }
        for split in self.splits {
            stages.push(Stage::split(split, Behaviour::Isolated)?);
        }
        if !self.spaced {
            stages.push(Stage::ByteLevel);
        }
        Ok(stages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tokenizer::pretok::Pieces;

    /// The pieces of `text`, read back from the alphabet of bytes.
    fn cut(pre: &str, text: &str) -> Vec<String> {
        let mut pieces = Pieces::default();
        pieces.cut(text, true, &find(pre).unwrap().stages().unwrap());
        pieces
            .iter()
            .map(|p| {
                let mut out = Vec::new();
                assert!(crate::engine::tokenizer::alphabet::decode(p.as_bytes(), &mut out));
                String::from_utf8(out).unwrap()
            })
            .collect()
    }

    #[test]
    fn every_pre_tokenizer_compiles_and_every_name_is_named_once() {
        let mut seen = std::collections::HashSet::new();
        for p in PRES {
            assert!(!p.stages().unwrap().is_empty());
            assert!(p.names.iter().all(|n| seen.insert(*n)), "{:?}", p.names);
        }
    }

    #[test]
    fn words_keep_the_space_before_them_and_digits_are_cut_as_the_model_wants() {
        assert_eq!(cut("gpt-2", "I'm  12345 a"), ["I", "'m", " ", " 12345", " a"]);
        assert_eq!(
            cut("llama-bpe", "I'M  12345\n\n a"),
            ["I", "'M", " ", " ", "123", "45", "\n\n", " a"]
        );
        assert_eq!(cut("qwen2", "x12"), ["x", "1", "2"]);
        assert_eq!(cut("smollm", "x 12"), ["x", " ", "1", "2"]);
        assert_eq!(cut("tiny_aya", "a1234567b12"), ["a", "1", "234", "567", "b", "12"]);
        assert_eq!(cut("gpt-4o", "HELLOworld's/\n"), ["HELLOworld's", "/\n"]);
    }

    #[test]
    fn a_megabyte_of_one_character_is_cut_in_linear_time() {
        for p in PRES {
            let stages = p.stages().unwrap();
            for c in ["a", " ", "\n", "1", "一", "'", ".", " \n", "A", "\u{301}"] {
                let text = c.repeat(1 << 20);
                let mut pieces = Pieces::default();
                pieces.cut(&text, true, &stages);
                assert!(pieces.iter().count() > 0, "{:?}", p.names);
            }
        }
    }
}
