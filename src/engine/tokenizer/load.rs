//! Which tokenizer a checkpoint has, where it lies, and llama2.c's `tokenizer.bin`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::special::Specials;
use super::spm::{Spm, Unknown};
use super::vocab::{Arena, Vocab, spelled_byte};
use super::{LoadOptions, Markers, Scheme, Token, TokenKind, Tokenizer, gguf, json};
use crate::engine::error::{Error, Result};
use crate::engine::format::{Checkpoint, Format};

/// Largest tokenizer file; the largest known (a tokenizer.json of 262,144 tokens) has 33 MB.
const MAX_FILE: u64 = 256 << 20;

/// The tokenizer of a checkpoint. A `--pre` that would change nothing is an error.
pub(super) fn load(ckpt: &Checkpoint, opts: LoadOptions<'_>) -> Result<Tokenizer> {
    let t = find(ckpt, opts)?;
    match opts.pre {
        Some(pre) if !t.name.ends_with(&format!("({pre})")) => {
            Err(Error::Invalid(format!("--pre {pre}: a {} tokenizer cannot choose", t.name)))
        }
        _ => Ok(t),
    }
}

fn find(ckpt: &Checkpoint, opts: LoadOptions<'_>) -> Result<Tokenizer> {
    if let Some(path) = opts.path {
        return load_file(ckpt, path, opts);
    }
    match ckpt.format {
        Format::Gguf(_) => gguf::load(ckpt, opts),
        Format::Safetensors => {
            let path = named(ckpt, "nine.tokenizer_json")
                .unwrap_or_else(|| folder(&ckpt.path).join("tokenizer.json"));
            if !path.is_file() {
                return Err(Error::missing(
                    &folder(&ckpt.path),
                    "no tokenizer.json here; name one with -z",
                ));
            }
            json::load(ckpt, &path, &read(&path)?)
        }
        Format::Llama2c(_) | Format::NineMl => {
            let dir = folder(&ckpt.path);
            let stem = ckpt.path.file_stem().unwrap_or_default().to_string_lossy();
            let own = format!("{stem}.tokenizer.bin");
            let path = ["tokenizer.bin", &own]
                .map(|name| dir.join(name))
                .into_iter()
                .find(|p| p.is_file());
            let Some(path) = path else {
                let what = format!("neither tokenizer.bin nor {own} here; name one with -z");
                return Err(Error::missing(&dir, what));
            };
            llama2c(ckpt, &path, &read(&path)?)
        }
    }
}

/// A tokenizer that the user named; told by its content.
fn load_file(ckpt: &Checkpoint, path: &Path, opts: LoadOptions<'_>) -> Result<Tokenizer> {
    if path.is_dir() {
        let inner = path.join("tokenizer.json");
        return json::load(ckpt, &inner, &read(&inner)?);
    }
    let mut magic = [0; 4];
    let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
    let n = file.read(&mut magic).map_err(|e| Error::io(path, e))?;
    match &magic[..n] {
        b"GGUF" => gguf::load(&Checkpoint::open(path)?, opts),
        // A tokenizer.bin begins with a small number, which may be a space or a brace: then zeros.
        [b'{' | b' ' | b'\n' | b'\r' | b'\t', rest @ ..] if !rest.contains(&0) => {
            json::load(ckpt, path, &read(path)?)
        }
        _ => llama2c(ckpt, path, &read(path)?),
    }
}

/// A path in metadata.
pub(super) fn named(ckpt: &Checkpoint, key: &str) -> Option<PathBuf> {
    ckpt.meta.opt_str(key).map(PathBuf::from)
}

/// The folder of a file, or the folder itself.
pub(super) fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        _ if path.is_dir() => path.to_owned(),
        Some(p) if !p.as_os_str().is_empty() => p.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Reads a whole file that may not be larger than [`MAX_FILE`], whatever its size is said to be.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let said = file.metadata().map_err(|e| Error::io(path, e))?.len();
    let too_large = || Error::TooLarge(format!("{}: larger than {MAX_FILE} bytes", path.display()));
    if said > MAX_FILE {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(said as usize + 1);
    let n = file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    if n as u64 > MAX_FILE { Err(too_large()) } else { Ok(bytes) }
}

/// Number of tokens of a model whose tokenizer file does not say it.
fn vocab_size(ckpt: &Checkpoint) -> Result<usize> {
    let key = format!("{}.vocab_size", ckpt.arch()?);
    match ckpt.meta.opt_uint(&key).map_err(|e| ckpt.key_error(e))? {
        Some(n) => usize::try_from(n).map_err(|_| ckpt.key_error(format!("{key} is {n}"))),
        None => Ok(ckpt.tensor("token_embd.weight")?.rows()),
    }
}

/// llama2.c's `tokenizer.bin`: i32 longest token; for each token f32 score, i32 length, bytes. The
/// number of tokens is the model's. Karpathy, llama2.c, `build_tokenizer` and `decode`.
fn llama2c(ckpt: &Checkpoint, path: &Path, file: &[u8]) -> Result<Tokenizer> {
    const HEADER: usize = 4;
    let n = vocab_size(ckpt)?;
    let bad = |what: String, at: usize| Error::malformed(path, what, Some(at as u64));
    // each token costs at least its score and its length
    if n > file.len() / 8 {
        return Err(Error::malformed(
            path,
            format!("{} bytes cannot hold the {n} tokens of the model", file.len()),
            None,
        ));
    }
    let mut spelled = Arena::with_capacity(n, file.len());
    let (mut scores, mut kinds) = (Vec::with_capacity(n), Vec::with_capacity(n));
    let mut at = HEADER;
    for id in 0..n {
        let head = file.get(at..).and_then(|rest| rest.first_chunk::<8>());
        let Some([s0, s1, s2, s3, l0, l1, l2, l3]) = head.copied() else {
            return Err(bad(format!("ends inside token {id} of {n}"), at));
        };
        let len = i32::from_le_bytes([l0, l1, l2, l3]);
        let token = usize::try_from(len)
            .ok()
            .and_then(|len| file.get(at + 8..)?.get(..len))
            .ok_or_else(|| bad(format!("token {id} of {n} has length {len}"), at + 4))?;
        spelled.push(token).map_err(|e| bad(e, at))?;
        scores.push(f32::from_le_bytes([s0, s1, s2, s3]));
        kinds.push(match id {
            0 => TokenKind::Unknown,
            1 | 2 => TokenKind::Control,
            _ if spelled_byte(token).is_some() => TokenKind::Byte,
            _ => TokenKind::Normal,
        });
        at += 8 + token.len();
    }
    if at != file.len() {
        let what = format!("holds more than the {n} tokens of the model");
        return Err(bad(what, at));
    }
    let whole = |e| Error::malformed(path, e, None);
    let mut vocab = Vocab::new(spelled, scores, kinds).map_err(whole)?;
    vocab
        .decode_with(|id, spelled, _, out| match spelled_byte(spelled) {
            Some(b) => out.push(b),
            None if id == BOS => {}
            None => out.extend_from_slice(spelled),
        })
        .map_err(whole)?;
    const BOS: Token = 1;
    const EOS: Token = 2;
    let known = |id: Token| ((id as usize) < n).then_some(id);
    let spm = Spm::new(&vocab, ' ', Unknown::Offset);
    Ok(Tokenizer {
        vocab,
        scheme: Scheme::Llama2c(spm),
        specials: Specials::default(),
        markers: Markers {
            bos: known(BOS),
            eos: known(EOS),
            add_bos: true,
            // llama2.c stops at BOS, which separates the stories that its models were trained on
            eog: known(BOS).into_iter().collect(),
        },
        strip_first: false,
        name: "llama2.c".into(),
    })
}
