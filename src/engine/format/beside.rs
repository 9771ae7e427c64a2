//! The neighbours of config.json: where the tokenizer is, the chat template, the tokens that end
//! a generation.

use std::path::Path;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use super::hf::{Config, eos_ids};
use super::json::{self, MAX_CONFIG, MAX_STREAMED};
use super::value::{Array, Metadata, Value};
use crate::engine::blob;
use crate::engine::error::{Error, Result};

/// Adds to the metadata of a model what the other files of its folder say.
pub(super) fn read(dir: &Path, meta: &mut Metadata) -> Result<()> {
    let path_of = |name: &str| Some(dir.join(name)).filter(|p| p.is_file());
    for (name, key) in [
        ("tokenizer.json", "nine.tokenizer_json"),
        ("tokenizer_config.json", "nine.tokenizer_config"),
    ] {
        if let Some(path) = path_of(name) {
            let raw = path.as_os_str().as_encoded_bytes();
            meta.set(key, Value::Str(Bytes::copy_from_slice(raw)));
        }
    }
    if let Some(path) = path_of("generation_config.json") {
        let json: Json = json::read(&path, MAX_CONFIG)?;
        let Json::Object(root) = &json else {
            return Err(Error::malformed(&path, "not an object", None));
        };
        let mut ids = Vec::new();
        eos_ids(&Config::plain(&path, root), &mut ids)?;
        if let Ok(Some(more)) = meta.opt_array("nine.eos_token_ids") {
            for id in more.numbers().map(|n| n as u32) {
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
        if !ids.is_empty() {
            meta.set("nine.eos_token_ids", Array::from_u32s(&ids));
        }
    }
    if let Some(template) = chat_template(dir)? {
        meta.set("tokenizer.chat_template", Value::text(template));
    }
    Ok(())
}

/// The template: a file of its own, or a value of one of the JSON files.
fn chat_template(dir: &Path) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        chat_template: Option<Template>,
    }
    let jinja = dir.join("chat_template.jinja");
    if jinja.is_file() {
        let text = blob::read_small(&jinja, MAX_CONFIG)?;
        return match String::from_utf8(text) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Error::malformed(&jinja, "not UTF-8", None)),
        };
    }
    for name in ["chat_template.json", "tokenizer_config.json"] {
        let path = dir.join(name);
        if path.is_file() {
            let file: File = json::read(&path, MAX_STREAMED)?;
            if let Some(Template(Some(text))) = file.chat_template {
                return Ok(Some(text));
            }
        }
    }
    Ok(None)
}

/// `chat_template`: a text, or a list of named ones of which "default" is taken.
struct Template(Option<String>);

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
            template: String,
        }
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Template;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a template or a list of them")
            }

            fn visit_str<E>(self, s: &str) -> std::result::Result<Template, E> {
                Ok(Template(Some(s.to_owned())))
            }

            fn visit_unit<E>(self) -> std::result::Result<Template, E> {
                Ok(Template(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> std::result::Result<Template, A::Error> {
                let mut found = None;
                while let Some(named) = seq.next_element::<Named>()? {
                    if named.name == "default" {
                        found = Some(named.template);
                    }
                }
                Ok(Template(found))
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Template, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Template(None))
            }
        }
        d.deserialize_any(Walk)
    }
}
