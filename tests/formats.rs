//! Reading every container: what comes out, and what is said when nothing can.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;

use common::open::{float, open, open_bytes, put, refused, says, uint};
use common::write::{Gguf, Kv, Llama2c, f32_bytes, llama_tensors, noise, q8_groups};
use nine_tui::engine::format::{Checkpoint, Format, OpenOptions, Value, ValueType};
use nine_tui::engine::{DType, Error};
use serde_json::json;

// ------------------------------------------------------------------------------------------ GGUF

/// Two tensors and every type of key.
fn sample() -> Gguf {
    Gguf::new()
        .kv("general.architecture", "llama")
        .kv("t.u8", Kv::U8(200))
        .kv("t.i8", Kv::I8(-100))
        .kv("t.u16", Kv::U16(60_000))
        .kv("t.i16", Kv::I16(-30_000))
        .kv("t.u32", 4_000_000_000u32)
        .kv("t.i32", Kv::I32(-2_000_000_000))
        .kv("t.f32", 1.5f32)
        .kv("t.bool", true)
        .kv("t.u64", Kv::U64(u64::MAX))
        .kv("t.i64", Kv::I64(i64::MIN))
        .kv("t.f64", Kv::F64(0.1))
        .kv("t.strs", Kv::strs(&["", "a", "naïve"]))
        .kv("t.empty", Kv::Arr(8, vec![]))
        .kv("t.i32s", Kv::i32s(&[-1, 0, 7]))
        .kv(
            "t.nested",
            Kv::Arr(
                9,
                vec![Kv::i32s(&[1, 2]), Kv::strs(&["x"]), Kv::Arr(9, vec![Kv::f32s(&[0.5])])],
            ),
        )
        .noise("token_embd.weight", &[32, 5])
        .tensor("blk.0.attn_q.weight", 2, &[32, 3], (0..54).collect())
        .noise("output_norm.weight", &[32])
}

#[test]
fn gguf_keys_of_every_type_come_back() {
    for version in [2, 3] {
        let g = Gguf { version, ..sample() };
        let c = open_bytes("m.gguf", &g.bytes()).unwrap();
        assert_eq!(c.format, Format::Gguf(version));
        assert_eq!(c.arch().unwrap(), "llama");
        let get = |k: &str| c.meta.get(k).unwrap();
        assert_eq!(get("t.u8"), &Value::Uint(200, ValueType::U8));
        assert_eq!(get("t.i8"), &Value::Int(-100, ValueType::I8));
        assert_eq!(get("t.u16"), &Value::Uint(60_000, ValueType::U16));
        assert_eq!(get("t.i16"), &Value::Int(-30_000, ValueType::I16));
        assert_eq!(get("t.u32"), &Value::Uint(4_000_000_000, ValueType::U32));
        assert_eq!(get("t.i32"), &Value::Int(-2_000_000_000, ValueType::I32));
        assert_eq!(get("t.f32"), &Value::Float(1.5, ValueType::F32));
        assert_eq!(get("t.bool"), &Value::Bool(true));
        assert_eq!(get("t.u64"), &Value::Uint(u64::MAX, ValueType::U64));
        assert_eq!(get("t.i64"), &Value::Int(i64::MIN, ValueType::I64));
        assert_eq!(get("t.f64"), &Value::Float(0.1, ValueType::F64));
        let strs = c.meta.opt_array("t.strs").unwrap().unwrap();
        assert_eq!(strs.strings().collect::<Vec<_>>(), [b"".as_slice(), b"a", "naïve".as_bytes()]);
        assert_eq!(c.meta.opt_array("t.empty").unwrap().unwrap().strings().count(), 0);
        let nums = c.meta.opt_array("t.i32s").unwrap().unwrap();
        assert_eq!(nums.numbers().collect::<Vec<_>>(), [-1.0, 0.0, 7.0]);
        let nested = c.meta.opt_array("t.nested").unwrap().unwrap();
        let parts: Vec<Value> = nested.values().collect();
        assert_eq!(parts.len(), 3);
        let Value::Array(ints) = &parts[0] else { panic!("{parts:?}") };
        assert_eq!(ints.numbers().collect::<Vec<_>>(), [1.0, 2.0]);
        let Value::Array(deep) = &parts[2] else { panic!("{parts:?}") };
        let Some(Value::Array(floats)) = deep.values().next() else { panic!("{deep:?}") };
        assert_eq!(floats.numbers().collect::<Vec<_>>(), [0.5]);
    }
}

#[test]
fn gguf_tensors_come_back_with_their_bytes() {
    for align in [32, 64, 256] {
        let mut g = sample();
        g.align = align;
        if align != 32 {
            g = g.kv("general.alignment", align as u32);
        }
        let c = open_bytes("m.gguf", &g.bytes()).unwrap();
        let names: Vec<_> = c.tensors.keys().cloned().collect();
        assert_eq!(names, ["token_embd.weight", "blk.0.attn_q.weight", "output_norm.weight"]);
        for t in &g.tensors {
            let got = c.tensor(&t.name).unwrap();
            assert_eq!(got.data, t.data, "{}", t.name);
            assert_eq!(got.offset % align as u64, 0);
            assert_eq!((got.name.as_str(), got.file_name.as_str()), (&*t.name, &*t.name));
        }
        let q = c.tensor("blk.0.attn_q.weight").unwrap();
        assert_eq!((q.dtype, q.cols(), q.rows()), (DType::Q4_0, 32, 3));
        assert_eq!(c.notes, Vec::<String>::new());
    }
}

#[test]
fn gguf_read_into_memory_equals_gguf_mapped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    sample().write(&path);
    let (a, b) = (open(&path), Checkpoint::open_with(&path, OpenOptions { map: false }).unwrap());
    assert_eq!(a.meta.0, b.meta.0);
    assert!(a.tensors.values().zip(b.tensors.values()).all(|(x, y)| x.data == y.data));
}

#[test]
fn gguf_split_sets_open_from_any_of_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let paths = sample().write_split(dir.path(), "m", 3);
    for p in paths.iter().map(|p| p.as_path()).chain([dir.path()]) {
        let c = open(p);
        assert_eq!(c.path, p);
        assert_eq!(c.files, paths);
        assert_eq!(c.tensors.len(), 3);
        assert_eq!(c.tensors.values().map(|t| t.file).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(c.arch().unwrap(), "llama");
        assert_eq!(c.file_bytes, paths.iter().map(|p| p.metadata().unwrap().len()).sum::<u64>());
        for t in sample().tensors {
            assert_eq!(c.tensor(&t.name).unwrap().data, t.data);
        }
    }
    // Another name than the keys say.
    let odd = dir.path().join("odd.gguf");
    std::fs::copy(&paths[1], &odd).unwrap();
    says(&Checkpoint::open(&odd).unwrap_err().to_string(), &["odd.gguf", "-00002-of-00003.gguf"]);
    std::fs::remove_file(&odd).unwrap();
    // One that is in the place of another.
    std::fs::copy(&paths[1], &paths[2]).unwrap();
    let e = Checkpoint::open(&paths[0]).unwrap_err().to_string();
    says(&e, &["m-00003-of-00003.gguf", "split.no 1"]);
    // One that is gone.
    std::fs::remove_file(&paths[2]).unwrap();
    for p in &paths[..2] {
        let e = Checkpoint::open(p).unwrap_err();
        assert!(matches!(e, Error::Missing { .. }), "{e:?}");
        says(&e.to_string(), &["m-00003-of-00003.gguf"]);
    }
}

#[test]
fn gguf_damage_is_named() {
    let with = |f: &dyn Fn(&mut Gguf)| {
        let mut g = sample();
        f(&mut g);
        refused("m.gguf", &g.bytes())
    };
    says(&with(&|g| g.version = 1), &["version 1"]);
    says(&with(&|g| g.version = 4), &["version 4"]);
    says(&with(&|g| g.version = 3 << 24), &["big-endian"]);
    says(&with(&|g| g.tensors[1].ggml = 31), &["blk.0.attn_q.weight", "ggml type 31"]);
    says(&with(&|g| g.tensors[1].dims = vec![48, 2]), &["blk.0.attn_q.weight", "48", "Q4_0"]);
    says(&with(&|g| g.tensors[1].dims = vec![32, 0]), &["blk.0.attn_q.weight", "dimension of 0"]);
    says(&with(&|g| g.tensors[1].dims = vec![32, 1 << 60]), &["blk.0.attn_q.weight"]);
    says(&with(&|g| g.tensors[1].dims = vec![1 << 40, 1 << 40]), &["blk.0.attn_q.weight"]);
    says(&with(&|g| g.tensors[1].dims = vec![32, 1, 1, 1, 3]), &["5 dimensions", "at byte"]);
    says(&with(&|g| g.tensors[1].offset = Some(0)), &["overlap", "token_embd.weight"]);
    says(&with(&|g| g.tensors[1].offset = Some(648)), &["blk.0.attn_q.weight", "648", "multiple"]);
    says(&with(&|g| g.tensors[1].offset = Some(1 << 40)), &["blk.0.attn_q.weight", "at byte"]);
    says(&with(&|g| g.tensors[1].offset = Some(u64::MAX - 31)), &["blk.0.attn_q.weight"]);
    says(
        &with(&|g| g.tensors[1].name = "token_embd.weight".into()),
        &["token_embd.weight", "twice"],
    );
    says(&with(&|g| g.tensors[1].name = "x".repeat(193)), &["tensor 1", "193"]);
    says(&with(&|g| g.tensors[1].name = "a\x1b[2Jb".into()), &["tensor 1", "control"]);
    says(&with(&|g| g.kv.push(("t.u8".into(), Kv::U8(1)))), &["t.u8", "twice"]);
    says(&with(&|g| g.kv.push(("".into(), Kv::U8(1)))), &["key 16", "empty"]);
    let align = |v: Kv| with(&|g| g.kv.push(("general.alignment".into(), v.clone())));
    says(&align(Kv::U32(0)), &["general.alignment is 0"]);
    says(&align(Kv::U32(24)), &["general.alignment is 24"]);
    says(&align(Kv::Str("32".into())), &["general.alignment is str"]);
    let deep = (0..4).fold(Kv::i32s(&[1]), |v, _| Kv::Arr(9, vec![v]));
    says(&with(&|g| g.kv.push(("t.deep".into(), deep.clone()))), &["t.deep", "nested deeper"]);
    let long = Kv::Str("x".repeat((1 << 20) + 1));
    says(&with(&|g| g.kv.push(("t.long".into(), long.clone()))), &["t.long", "1048577"]);
    let mut bytes = sample().bytes();
    let last = bytes.len() - 64;
    bytes.truncate(last);
    says(&refused("m.gguf", &bytes), &["output_norm.weight", "at byte"]);
}

#[test]
fn gguf_counts_that_lie_are_refused_before_anything_is_allocated() {
    let mut bytes = sample().bytes();
    bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    says(&refused("m.gguf", &bytes), &["tensors", "at byte 8"]);
    let mut bytes = sample().bytes();
    bytes[16..24].copy_from_slice(&(1u64 << 40).to_le_bytes());
    says(&refused("m.gguf", &bytes), &["keys", "at byte 16"]);
    // An array that says it has 2^62 strings.
    let g = Gguf::new().kv("t.strs", Kv::strs(&["a"]));
    let mut bytes = g.bytes();
    let at = bytes.windows(6).position(|w| w == b"t.strs").unwrap() + 6 + 8;
    bytes[at..at + 8].copy_from_slice(&(1u64 << 62).to_le_bytes());
    says(&refused("m.gguf", &bytes), &["t.strs"]);
    // And one of 2^61 numbers.
    let g = Gguf::new().kv("t.nums", Kv::f32s(&[1.0]));
    let mut bytes = g.bytes();
    let at = bytes.windows(6).position(|w| w == b"t.nums").unwrap() + 6 + 8;
    bytes[at..at + 8].copy_from_slice(&(1u64 << 61).to_le_bytes());
    says(&refused("m.gguf", &bytes), &["t.nums"]);
}

/// Facts read once with PyPI's gguf 0.19.0 (`GGUFReader`).
#[test]
fn gguf_of_smollm2_reads_as_the_reference_reader_has_it() {
    let c = open(&common::cached("SmolLM2-135M-Instruct.Q4_1.gguf"));
    assert_eq!(c.format, Format::Gguf(3));
    assert_eq!((c.tensors.len(), c.meta.0.len()), (272, 33));
    assert_eq!(c.file_bytes, 98_362_432);
    assert_eq!(c.arch().unwrap(), "llama");
    for (key, v) in [
        ("llama.block_count", 30),
        ("llama.context_length", 8192),
        ("llama.embedding_length", 576),
        ("llama.feed_forward_length", 1536),
        ("llama.attention.head_count", 9),
        ("llama.attention.head_count_kv", 3),
        ("llama.vocab_size", 49152),
        ("general.file_type", 3),
    ] {
        assert_eq!(uint(&c, key), v, "{key}");
    }
    assert_eq!(float(&c, "llama.rope.freq_base"), 100_000.0);
    assert_eq!(c.meta.opt_bool("tokenizer.ggml.add_bos_token").unwrap(), Some(false));
    assert_eq!(c.meta.str("tokenizer.ggml.pre").unwrap(), "smollm");
    let tokens = c.meta.opt_array("tokenizer.ggml.tokens").unwrap().unwrap();
    assert_eq!((tokens.len, tokens.strings().count()), (49152, 49152));
    let merges = c.meta.opt_array("tokenizer.ggml.merges").unwrap().unwrap();
    assert_eq!(merges.strings().count(), 48900);
    assert!(c.meta.str("tokenizer.chat_template").unwrap().starts_with("{% for message in"));
    for (name, dtype, shape, offset, bytes) in [
        ("token_embd.weight", DType::Q8_0, &[576usize, 49152][..], 1_785_664, 30_081_024),
        ("blk.0.attn_norm.weight", DType::F32, &[576], 31_866_688, 2304),
        ("blk.0.ffn_down.weight", DType::Q4_1, &[1536, 576], 31_868_992, 552_960),
        ("blk.0.attn_k.weight", DType::Q4_1, &[576, 192], 33_530_176, 69_120),
        ("output_norm.weight", DType::F32, &[576], 98_360_128, 2304),
    ] {
        let t = c.tensor(name).unwrap();
        let got = (t.dtype, t.shape.as_slice(), t.offset, t.data.len());
        assert_eq!(got, (dtype, shape, offset, bytes), "{name}");
    }
    assert_eq!(c.tensors.values().map(|t| t.len()).sum::<usize>(), 134_515_008);
    let q4 = c.tensors.values().filter(|t| t.dtype == DType::Q4_1).count();
    assert_eq!((q4, c.tensor("output.weight").is_err()), (210, true));
}

#[test]
fn gguf_of_gemma3_reads_as_the_reference_reader_has_it() {
    let c = open(&common::cached("gemma-3-270m-q4_k_m.gguf"));
    assert_eq!((c.tensors.len(), c.meta.0.len()), (236, 33));
    assert_eq!(c.arch().unwrap(), "gemma3");
    for (key, v) in [
        ("gemma3.block_count", 18),
        ("gemma3.context_length", 32768),
        ("gemma3.embedding_length", 640),
        ("gemma3.feed_forward_length", 2048),
        ("gemma3.attention.head_count", 4),
        ("gemma3.attention.head_count_kv", 1),
        ("gemma3.attention.key_length", 256),
        ("gemma3.attention.sliding_window", 512),
    ] {
        assert_eq!(uint(&c, key), v, "{key}");
    }
    let scores = c.meta.opt_array("tokenizer.ggml.scores").unwrap().unwrap();
    assert_eq!((scores.elem, scores.numbers().count()), (ValueType::F32, 262_144));
    for (name, dtype, shape, offset, bytes) in [
        ("token_embd.weight", DType::Q8_0, &[640usize, 262_144][..], 6_527_680, 178_257_920),
        ("blk.0.attn_k.weight", DType::Q5_0, &[640, 256], 184_785_600, 112_640),
        ("blk.0.attn_output.weight", DType::Q4_K, &[1024, 640], 184_901_824, 368_640),
        ("blk.0.ffn_down.weight", DType::Q6_K, &[2048, 640], 185_896_128, 1_075_200),
        ("blk.17.post_ffw_norm.weight", DType::F32, &[640], 253_110_464, 2560),
    ] {
        let t = c.tensor(name).unwrap();
        let got = (t.dtype, t.shape.as_slice(), t.offset, t.data.len());
        assert_eq!(got, (dtype, shape, offset, bytes), "{name}");
    }
    let count = |d| c.tensors.values().filter(|t| t.dtype == d).count();
    let counts = [DType::F32, DType::Q5_0, DType::Q4_K, DType::Q8_0, DType::Q6_K].map(count);
    assert_eq!(counts, [109, 81, 27, 10, 9]);
    assert_eq!(c.tensors.values().map(|t| t.len()).sum::<usize>(), 268_098_176);
}

#[test]
fn gguf_without_tensors_is_a_vocabulary() {
    let c = open(&common::cached("vocab/ggml-vocab-llama-bpe.gguf"));
    assert_eq!(c.tensors.len(), 0);
    assert_eq!(c.meta.str("tokenizer.ggml.model").unwrap(), "gpt2");
}

// -------------------------------------------------------------------------------------- llama2.c

fn check_llama2c(c: &Checkpoint, m: &Llama2c) {
    assert_eq!(c.arch().unwrap(), "llama");
    for (key, v) in [
        ("llama.embedding_length", m.dim),
        ("llama.feed_forward_length", m.hidden),
        ("llama.block_count", m.layers),
        ("llama.attention.head_count", m.heads),
        ("llama.attention.head_count_kv", m.kv_heads),
        ("llama.vocab_size", m.vocab),
        ("llama.context_length", m.seq),
    ] {
        assert_eq!(uint(c, key), v as u64, "{key}");
    }
    assert_eq!(float(c, "llama.attention.layer_norm_rms_epsilon"), 1e-5);
    let shapes = m.shapes();
    assert_eq!(c.tensors.len(), shapes.len());
    for (name, shape) in shapes {
        let t = c.tensor(&name).unwrap();
        assert_eq!(t.shape, shape, "{name}");
        let w = noise(&name, &shape);
        if t.dtype == DType::Q8G {
            let (q, scales) = q8_groups(&w, t.group);
            assert_eq!(t.data[..q.len()], q.iter().map(|&v| v as u8).collect::<Vec<_>>(), "{name}");
            assert_eq!(t.data[q.len()..], f32_bytes(&scales), "{name}");
        } else {
            assert_eq!((t.dtype, t.group), (DType::F32, 0), "{name}");
            assert_eq!(t.data, f32_bytes(&w), "{name}");
        }
    }
}

#[test]
fn llama2c_files_of_every_version_hold_the_same_model() {
    for shared in [true, false] {
        let m = Llama2c { shared, ..Llama2c::tiny() };
        let c = open_bytes("m.bin", &m.v0()).unwrap();
        assert_eq!((c.format, float(&c, "llama.rope.freq_base")), (Format::Llama2c(0), 10_000.0));
        says(&c.notes.join("\n"), &["512 bytes of rope tables"]);
        check_llama2c(&c, &m);

        let c = open_bytes("m.bin", &m.v1()).unwrap();
        assert_eq!(c.format, Format::Llama2c(1));
        check_llama2c(&c, &m);

        for group in [16, 4, 1] {
            let c = open_bytes("m.bin", &m.v2(group)).unwrap();
            assert_eq!(c.format, Format::Llama2c(2));
            let q = c.tensor("blk.0.attn_q.weight").unwrap();
            assert_eq!((q.dtype, q.group), (DType::Q8G, group));
            check_llama2c(&c, &m);
        }

        let c = open_bytes("m.bin", &m.nine(2, 500_000.0, 0)).unwrap();
        assert_eq!((c.format, float(&c, "llama.rope.freq_base")), (Format::NineMl, 500_000.0));
        assert_eq!(c.meta.str("nine.arch").unwrap(), "llama3");
        assert!(c.meta.get("llama.attention.sliding_window").is_none());
        check_llama2c(&c, &m);

        let c = open_bytes("m.bin", &m.nine(3, 10_000.0, 8)).unwrap();
        assert_eq!(c.meta.str("nine.arch").unwrap(), "mistral");
        assert_eq!(uint(&c, "llama.attention.sliding_window"), 8);
        check_llama2c(&c, &m);
    }
}

#[test]
fn llama2c_tensors_keep_the_names_of_llama2c() {
    let c = open_bytes("m.bin", &Llama2c { shared: false, ..Llama2c::tiny() }.v0()).unwrap();
    for (name, own) in [
        ("token_embd.weight", "token_embedding"),
        ("blk.1.attn_q.weight", "layers.1.attention.wq"),
        ("blk.0.ffn_gate.weight", "layers.0.feed_forward.w1"),
        ("blk.0.ffn_down.weight", "layers.0.feed_forward.w2"),
        ("blk.0.ffn_up.weight", "layers.0.feed_forward.w3"),
        ("blk.0.ffn_norm.weight", "layers.0.rms_ffn"),
        ("output.weight", "wcls"),
    ] {
        assert_eq!(c.tensor(name).unwrap().file_name, own);
    }
    assert_eq!(c.tensor("token_embd.weight").unwrap().offset, 28);
}

#[test]
fn llama2c_with_a_large_vocabulary_is_taken_for_llama3() {
    let m = Llama2c { dim: 4, hidden: 4, heads: 2, kv_heads: 1, vocab: 100_000, ..Llama2c::tiny() };
    let c = open_bytes("m.bin", &m.v0()).unwrap();
    assert_eq!(float(&c, "llama.rope.freq_base"), 500_000.0);
}

#[test]
fn llama2c_of_the_wrong_size_is_an_error_with_both_sizes() {
    let m = Llama2c::tiny();
    for bytes in [m.v0(), m.v1(), m.v2(16), m.nine(1, 10_000.0, 0)] {
        for (n, cut) in [(bytes.len() + 1, false), (bytes.len() - 4, true)] {
            let mut wrong = bytes.clone();
            if cut {
                wrong.truncate(n)
            } else {
                wrong.push(0)
            }
            let asked = format!("asks for {} bytes", bytes.len());
            says(&refused("m.bin", &wrong), &[&asked, &format!("the file has {n}")]);
        }
    }
}

#[test]
fn llama2c_damage_is_named() {
    let m = Llama2c::tiny();
    let patched = |mut bytes: Vec<u8>, at: usize, v: i32| {
        bytes[at..at + 4].copy_from_slice(&v.to_le_bytes());
        refused("m.bin", &bytes)
    };
    says(&patched(m.v0(), 12, 5), &["n_heads 5", "dim 32"]);
    says(&patched(m.v0(), 16, 3), &["n_kv_heads 3", "n_heads 4"]);
    says(&patched(m.v0(), 12, 32), &["heads of 1"]);
    says(&patched(m.v0(), 12, 0), &["not a model"]);
    says(&patched(m.v1(), 4, 3), &["version 3"]);
    says(&patched(m.v1(), 12, -48), &["hidden_dim is -48", "at byte 12"]);
    says(&patched(m.v1(), 28, -64), &["vocab_size is -64"]);
    says(&patched(m.v1(), 36, 2), &["shared_classifier is 2"]);
    says(&patched(m.v2(16), 37, 0), &["group_size 0"]);
    says(&patched(m.v2(16), 37, -16), &["group_size -16"]);
    says(&patched(m.v2(16), 37, 32), &["group_size 32", "hidden_dim 48"]);
    says(&patched(m.v2(16), 37, 24), &["group_size 24", "dim 32"]);
    let nine = || m.nine(1, 10_000.0, 0);
    says(&patched(nine(), 4, 28), &["header_size is 28"]);
    says(&patched(nine(), 8, 9), &["9ML architecture 9"]);
    says(&patched(nine(), 12, f32::NAN.to_bits() as i32), &["rope_theta is NaN"]);
    says(&patched(nine(), 16, 1), &["ffn_type 1 (GeGLU)"]);
    says(&patched(nine(), 20, 3), &["flags 0x3"]);
    says(&patched(nine(), 24, -1), &["sliding_window is -1"]);
    // The largest header there can be: products do not wrap.
    let huge = [1 << 17, 1 << 20, 4096, 4096, 4096, 1 << 22, 1 << 24];
    let bytes: Vec<u8> = huge.into_iter().flat_map(i32::to_le_bytes).collect();
    says(&refused("m.bin", &bytes), &["the file has 28"]);
}

// ------------------------------------------------------------------------------- no model at all

#[test]
fn what_is_no_model_is_told_in_one_line() {
    says(&refused("x.bin", b""), &["empty"]);
    says(&refused("x.gguf", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\0"), &["PNG"]);
    says(&refused("x.txt", b"Once upon a time there was a file of text."), &["text"]);
    says(&refused("x.bin", b"PK\x03\x04archive/data.pkl and so on"), &["ZIP"]);
    says(&refused("x.gguf", b"version https://git-lfs.github.com/spec/v1\noid"), &["Git LFS"]);
    says(&refused("x.gguf", b"<!DOCTYPE html><html><head>"), &["web page"]);
    says(&refused("x.bin", &[0; 64]), &["not a model"]);
    says(&refused("x.bin", &[1, 2, 3]), &["not a model"]);
    says(&refused("x.json", br#"{"a": 1}"#), &["weight_map"]);
    says(&refused("x.gguf", b"GGUF"), &["ends in the version", "at byte 4"]);
}

#[test]
fn folders_and_paths_that_hold_no_model_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone.gguf");
    let e = Checkpoint::open(&gone).unwrap_err();
    assert!(matches!(e, Error::Io { .. }));
    says(&e.to_string(), &["gone.gguf"]);
    let e = Checkpoint::open(dir.path()).unwrap_err();
    assert!(matches!(e, Error::Missing { .. }));
    says(&e.to_string(), &[dir.path().to_str().unwrap(), "holds no model"]);
    sample().write(&dir.path().join("a.gguf"));
    assert_eq!(open(dir.path()).files, [dir.path().join("a.gguf")]);
    sample().write(&dir.path().join("b.gguf"));
    says(
        &Checkpoint::open(dir.path()).unwrap_err().to_string(),
        &["2 GGUF files", "a.gguf, b.gguf"],
    );
    #[cfg(unix)]
    says(&Checkpoint::open(Path::new("/dev/zero")).unwrap_err().to_string(), &["not a regular"]);
}

#[test]
fn the_container_is_told_by_content_not_by_name() {
    assert_eq!(open_bytes("x.bin", &sample().bytes()).unwrap().format, Format::Gguf(3));
    let c = open_bytes("x.gguf", &Llama2c::tiny().v0()).unwrap();
    assert_eq!(c.format, Format::Llama2c(0));
    let c = open_bytes("x.pt", &llama_tensors().bytes()).unwrap();
    assert_eq!(c.format, Format::Safetensors);
}

// ------------------------------------------------------------------------- weights stay untouched

/// Bytes of `path` that are in this process's memory through one map, as the kernel counts them;
/// of several maps (another test may have one) the largest.
#[cfg(target_os = "linux")]
fn resident(path: &Path) -> u64 {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let path = path.canonicalize().unwrap();
    let path = path.to_str().unwrap();
    let (mut mine, mut most, mut seen) = (false, 0, false);
    for line in smaps.lines() {
        let Some((key, rest)) = line.split_once(':') else { continue };
        // Headers of maps have spaces before their first colon, and the path at the end.
        if key.contains(' ') {
            mine = line.ends_with(path);
            seen |= mine;
        } else if mine && key == "Rss" {
            let kb: u64 = rest.trim().strip_suffix(" kB").unwrap().parse().unwrap();
            most = most.max(kb * 1024);
        }
    }
    assert!(seen, "{path} is not mapped");
    most
}

/// A fault maps the pages around it that are cached already: 64 KiB as Linux has it, more where
/// pages are large. Weights are far beyond.
#[cfg(target_os = "linux")]
const FAULT_AROUND: u64 = 1 << 20;

#[test]
#[cfg(target_os = "linux")]
fn opening_touches_no_weight_page() {
    let path = common::cached("gemma-3-270m-q4_k_m.gguf");
    let c = open(&path);
    let header = c.tensors.values().map(|t| t.offset).min().unwrap();
    let after = resident(&path);
    assert!(after <= header + FAULT_AROUND, "{after} bytes resident, the header has {header}");
    // The measure measures: touching weights shows.
    let sum: u64 =
        c.tensors.values().flat_map(|t| t.data.iter().step_by(4096)).map(|&b| u64::from(b)).sum();
    assert!(resident(&path) > header + 100 * FAULT_AROUND, "{sum}");
}

/// Files of 100 GB without a block on disk: reading them would take minutes and fill memory.
#[test]
#[cfg(target_os = "linux")]
fn a_model_of_100_gb_opens_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let grow = |name: &str, head: &[u8], len: u64| {
        let path = dir.path().join(name);
        std::fs::write(&path, head).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(len).unwrap();
        path
    };
    let g = Gguf::new().kv("general.architecture", "llama").tensor(
        "blk.0.ffn_up.weight",
        0,
        &[1 << 18, 100_000],
        vec![],
    );
    let head = g.header();
    let len = head.len().next_multiple_of(32) as u64 + (4 << 18) * 100_000;
    let gguf = grow("m.gguf", &head, len);
    let m = Llama2c { dim: 65536, hidden: 1 << 20, layers: 1, heads: 64, ..Llama2c::tiny() };
    // What the header asks for is taken from the error of the short file.
    let short = refused("m.bin", &m.seven(true));
    let len = short.split("asks for ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(len > 100_000_000_000u64 * 2, "{short}");
    let bin = grow("m.bin", &m.seven(true), len);
    let text = r#"{"w":{"dtype":"F32","shape":[100000,262144],"data_offsets":[0,104857600000]}}"#;
    let mut head = (text.len() as u64).to_le_bytes().to_vec();
    head.extend(text.as_bytes());
    let st = grow("m.safetensors", &head, head.len() as u64 + 104_857_600_000);
    put(dir.path(), "config.json", json!({"model_type": "none"}));
    for path in [gguf, bin, st] {
        let c = open(&path);
        assert!(c.file_bytes > 100_000_000_000);
        let used = resident(&path);
        assert!(used <= FAULT_AROUND, "{} bytes of {} are resident", used, path.display());
    }
}
