//! Damaged files of every kind: an error that names the file, or a model; never a panic, and
//! never more memory than the files are long and 64 MiB.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/peak.rs"]
mod peak;

use std::path::{Path, PathBuf};

use common::write::{Gguf, Kv, Llama2c, Rng, Safetensors};
use nine_tui::engine::Tensor;
use nine_tui::engine::format::{Array, Checkpoint, Value};
use peak::{ALLOWANCE, peak_of};
use serde_json::json;

/// Damages of each sort tried on each file.
const PLACES: usize = 2000;

/// Everything that a checkpoint offers is looked at: what was opened has to be whole.
fn use_all(c: &Checkpoint) -> usize {
    fn array(a: &Array) -> usize {
        let mut n = a.numbers().count() + a.strings().map(<[u8]>::len).sum::<usize>();
        for v in a.values() {
            n += 1;
            if let Value::Array(inner) = &v {
                n += array(inner);
            }
        }
        n
    }
    let mut n = 0;
    for (key, v) in &c.meta.0 {
        n += key.len();
        if let Value::Array(a) = v {
            assert_eq!(a.values().count(), a.len, "{key}");
            n += array(a);
        }
    }
    let bytes = |t: &Tensor| {
        assert_eq!(t.rows() * t.cols(), t.len(), "{}", t.name);
        assert!(c.files.get(t.file).is_some(), "{}", t.name);
        assert!(!t.is_empty() && t.bits_per_weight() > 0.0, "{}", t.name);
        t.data.iter().map(|&b| usize::from(b)).sum::<usize>()
    };
    n + c.tensors.values().map(bytes).sum::<usize>() + c.notes.len() + c.arch().map_or(0, str::len)
}

/// Opens what is at `path`; an error has to name one of the files in `dir`, on one line.
fn try_open(path: &Path, dir: &Path, files: &[PathBuf], what: &str) -> bool {
    let (result, peak) = peak_of(|| Checkpoint::open(path).map(|c| use_all(&c)));
    let size: u64 = files.iter().filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum();
    assert!(peak <= size as usize + ALLOWANCE, "{what}: {peak} bytes for files of {size}");
    match result {
        Ok(_) => true,
        Err(e) => {
            let text = e.to_string();
            assert!(text.starts_with(dir.to_str().unwrap()), "{what}: {text:?} names no file");
            assert!(!text.chars().any(char::is_control), "{what}: {text:?} is not one line");
            assert!(text.len() < 2000, "{what}: {text:?} is long");
            false
        }
    }
}

/// Cuts and flips each of `files` in turn and opens `path` each time. `heads` says how many bytes
/// of each file are header: every second flip goes there.
fn torture(seed: u64, path: &Path, dir: &Path, files: &[(PathBuf, usize)]) {
    let all: Vec<PathBuf> = files.iter().map(|f| f.0.clone()).collect();
    assert!(try_open(path, dir, &all, "undamaged"), "the undamaged files do not open");
    let mut rng = Rng::new(seed);
    let (mut opened, mut refused) = (0, 0);
    for (file, head) in files {
        let good = std::fs::read(file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let mut attempt = |bytes: &[u8], what: String| {
            // A new file each time: one that is mapped must not change.
            std::fs::remove_file(file).unwrap();
            std::fs::write(file, bytes).unwrap();
            if try_open(path, dir, &all, &what) { opened += 1 } else { refused += 1 }
        };
        for i in 0..PLACES {
            let span = if i % 2 == 0 { (*head).min(good.len()) } else { good.len() };
            let n = rng.below(span);
            attempt(&good[..n], format!("{name} cut to {n} bytes"));
        }
        let mut bytes = good.clone();
        for i in 0..PLACES {
            let at = rng.below(if i % 2 == 0 { (*head).min(good.len()) } else { good.len() });
            // One bit, or all of a byte: lengths that are a little wrong, and wildly.
            let mask = if i % 4 < 2 { 1u8 << rng.below(8) } else { (rng.next() as u8).max(1) };
            bytes[at] ^= mask;
            attempt(&bytes, format!("{name} with byte {at} xor {mask:#x}"));
            bytes[at] ^= mask;
        }
        std::fs::remove_file(file).unwrap();
        std::fs::write(file, &good).unwrap();
    }
    // A file's header is damaged in half of all attempts; not all of that can go unnoticed.
    assert!(refused > PLACES / 2, "{refused} of {} were refused", opened + refused);
    assert!(try_open(path, dir, &all, "restored"), "the restored files do not open");
}

/// Writes `bytes` as the only file of a folder and tortures it.
fn torture_one(seed: u64, name: &str, bytes: &[u8], head: usize) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    torture(seed, &path, dir.path(), &[(path.clone(), head)]);
}

fn small_gguf(version: u32) -> Gguf {
    let mut g = Gguf { version, ..Gguf::new() }
        .kv("general.architecture", "llama")
        .kv("general.alignment", 32u32)
        .kv("llama.block_count", 1u32)
        .kv("llama.rope.freq_base", 10_000.0f32)
        .kv("tokenizer.ggml.add_bos_token", true)
        .kv("tokenizer.ggml.tokens", Kv::strs(&["<s>", "a", "b", "naïve", ""]))
        .kv("tokenizer.ggml.scores", Kv::f32s(&[0.0, 1.0, 2.0, 3.0, 4.0]))
        .kv("t.nested", Kv::Arr(9, vec![Kv::i32s(&[1, 2]), Kv::Arr(9, vec![Kv::strs(&["x"])])]))
        .kv("t.bools", Kv::Arr(7, vec![Kv::Bool(true), Kv::Bool(false)]))
        .kv("tokenizer.chat_template", "{{ messages }}");
    for name in ["token_embd", "blk.0.attn_q", "blk.0.attn_k", "blk.0.ffn_up"] {
        g = g.noise(&format!("{name}.weight"), &[16, 4]);
    }
    g.tensor("blk.0.ffn_down.weight", 12, &[256, 2], vec![7; 288])
        .tensor("blk.0.ffn_gate.weight", 8, &[32, 2], vec![3; 68])
        .noise("output_norm.weight", &[16])
}

#[test]
fn damaged_gguf_files_are_refused_or_read() {
    for version in [2, 3] {
        let g = small_gguf(version);
        torture_one(u64::from(version), "m.gguf", &g.bytes(), g.header().len());
    }
}

#[test]
fn damaged_split_sets_are_refused_or_read() {
    let dir = tempfile::tempdir().unwrap();
    let g = small_gguf(3);
    let paths = g.write_split(dir.path(), "m", 2);
    let heads = [g.header().len(), 400];
    let files: Vec<_> = paths.iter().cloned().zip(heads).collect();
    torture(4, &paths[1], dir.path(), &files);
}

#[test]
fn damaged_llama2c_files_are_refused_or_read() {
    let m = Llama2c { dim: 8, hidden: 12, layers: 2, vocab: 16, ..Llama2c::tiny() };
    torture_one(10, "m.bin", &m.v0(), 28);
    torture_one(11, "m.bin", &m.v1(), 64);
    torture_one(12, "m.bin", &m.v2(4), 64);
    torture_one(13, "m.bin", &m.nine(3, 10_000.0, 8), 60);
}

fn small_safetensors() -> Safetensors {
    let mut s = Safetensors::new();
    for (own, shape) in [
        ("model.embed_tokens", &[6, 8][..]),
        ("model.layers.0.self_attn.q_proj", &[8, 8]),
        ("model.layers.0.post_attention_layernorm", &[8]),
        ("lm_head", &[6, 8]),
    ] {
        s = s.noise(&format!("{own}.weight"), own, shape);
    }
    s.tensor("extra", "I64", &[2], vec![1; 16])
}

fn put_neighbours(dir: &Path) -> Vec<(PathBuf, usize)> {
    let config = std::fs::read_to_string(common::repo("tests/hf_config/phi3.json")).unwrap();
    let template = json!({"bos": null, "chat_template": [
        {"name": "tool_use", "template": "T"}, {"name": "default", "template": "{{ x }}"}]});
    let generation = json!({"eos_token_id": [7, 2], "temperature": 0.6});
    [
        ("config.json", config),
        ("tokenizer_config.json", template.to_string()),
        ("generation_config.json", generation.to_string()),
    ]
    .map(|(name, text)| {
        std::fs::write(dir.join(name), &text).unwrap();
        (dir.join(name), text.len())
    })
    .into()
}

#[test]
fn damaged_safetensors_and_their_neighbours_are_refused_or_read() {
    let dir = tempfile::tempdir().unwrap();
    let s = small_safetensors();
    let path = s.write(dir.path());
    let mut files = vec![(path, 8 + s.header().len())];
    files.extend(put_neighbours(dir.path()));
    torture(20, dir.path(), dir.path(), &files);
}

#[test]
fn damaged_sharded_safetensors_are_refused_or_read() {
    let dir = tempfile::tempdir().unwrap();
    let s = small_safetensors();
    let mut files: Vec<_> =
        s.write_sharded(dir.path(), 2).into_iter().map(|p| (p, 8 + s.header().len() / 2)).collect();
    files.extend(put_neighbours(dir.path()).into_iter().take(1));
    torture(21, dir.path(), dir.path(), &files);
}

/// As many things as may be declared, each as short as can be: the dearest files there are.
#[test]
fn files_that_declare_as_much_as_they_may_stay_within_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    let mut g = Gguf::new();
    for i in 0..1 << 16 {
        g.kv.push((format!("{i:x}"), Kv::U8(0)));
        let name = format!("{i:x}");
        g = g.tensor(&name, 24, &[], vec![0]);
    }
    g.align = 1;
    g.kv[0] = ("general.alignment".into(), Kv::U32(1));
    g.write(&path);
    assert!(try_open(&path, dir.path(), std::slice::from_ref(&path), "many short names"));
    // The same with long names, which are kept several times.
    for (i, t) in g.tensors.iter_mut().enumerate() {
        t.name = format!("{i:0192}");
    }
    g.kv.truncate(1);
    g.write(&path);
    assert!(try_open(&path, dir.path(), std::slice::from_ref(&path), "many long names"));

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{"model_type":"x"}"#).unwrap();
    for width in [1, 192] {
        let mut s = Safetensors::new();
        for i in 0..1 << 16 {
            s = s.tensor(&format!("{i:0width$x}"), "I8", &[], vec![0]);
        }
        let path = s.write(folder.path());
        assert!(try_open(&path, folder.path(), std::slice::from_ref(&path), "many tensors"));
    }
    // The measure measures.
    assert!(peak_of(|| vec![0u8; 1 << 20].len()).1 >= 1 << 20);
    // One more of anything is refused.
    let extra = g.tensor("more", 24, &[], vec![0]);
    extra.write(&path);
    assert!(!try_open(&path, dir.path(), std::slice::from_ref(&path), "too many tensors"));
}

/// JSON that is short to write and dear to hold.
#[test]
fn json_that_swells_is_not_held() {
    let dir = tempfile::tempdir().unwrap();
    let path = small_safetensors().write(dir.path());
    let config = dir.path().join("config.json");
    std::fs::write(&config, r#"{"model_type":"x"}"#).unwrap();
    let files = [path, config, dir.path().join("tokenizer_config.json")];
    for unit in ["[],", "0,", "{},", "\"\","] {
        for file in &files[1..] {
            let n = if file == &files[1] { 1 << 20 } else { 8 << 20 };
            let body = unit.repeat((n - 64) / unit.len());
            let text = format!(r#"{{"model_type":"x","chat_template":"t","y":[{body}0]}}"#);
            let old = std::fs::read(file).ok();
            std::fs::write(file, text).unwrap();
            assert!(try_open(dir.path(), dir.path(), &files, unit));
            match old {
                Some(old) => std::fs::write(file, old).unwrap(),
                None => std::fs::remove_file(file).unwrap(),
            }
        }
        // In the header itself: a shape, and what a writer put into __metadata__.
        let body = unit.repeat((8 << 20) / unit.len());
        for (text, fine) in [
            (format!(r#"{{"__metadata__":{{"y":[{body}0]}}}}"#), true),
            (format!(r#"{{"w":{{"dtype":"F32","shape":[{body}0],"data_offsets":[0,0]}}}}"#), false),
            (format!(r#"{{"w":[{body}0]}}"#), false),
        ] {
            let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
            bytes.extend(text.as_bytes());
            let good = std::fs::read(&files[0]).unwrap();
            std::fs::remove_file(&files[0]).unwrap();
            std::fs::write(&files[0], bytes).unwrap();
            assert_eq!(try_open(dir.path(), dir.path(), &files, unit), fine);
            std::fs::remove_file(&files[0]).unwrap();
            std::fs::write(&files[0], good).unwrap();
        }
    }
    // Deeper than any stack: an error, not a crash.
    std::fs::write(&files[1], "[".repeat(1 << 20)).unwrap();
    assert!(!try_open(dir.path(), dir.path(), &files, "deep JSON"));
    std::fs::write(&files[1], " ".repeat((1 << 20) + 1)).unwrap();
    assert!(!try_open(dir.path(), dir.path(), &files, "long JSON"));
}
