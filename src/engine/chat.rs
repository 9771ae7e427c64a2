//! Conversations to prompts, with the model's own Jinja template.

use super::error::Result;
use super::format::Checkpoint;
use super::tokenizer::Tokenizer;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What.
    pub content: String,
}

/// A compiled chat template.
pub struct Template {}

impl Template {
    /// The checkpoint's template (`tokenizer.chat_template`), or `None`: completion mode. Never a
    /// guess. A template that does not compile is an error.
    pub fn load(_ckpt: &Checkpoint, _tokenizer: &Tokenizer) -> Result<Option<Template>> {
        Ok(None)
    }

    /// Compiles `source`; `bos` and `eos` are the spellings of those tokens.
    pub fn new(_source: &str, _bos: &str, _eos: &str) -> Result<Template> {
        Ok(Template {})
    }

    /// The prompt of a conversation. With `reply` it ends where the model's next message starts.
    /// If the last turn is the assistant's and `reply` is false, it ends inside that message, so
    /// that the model continues it.
    pub fn render(&self, _turns: &[Turn], _reply: bool) -> Result<String> {
        Ok(String::new())
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        ""
    }
}
