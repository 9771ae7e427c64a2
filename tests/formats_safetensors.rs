//! Reading safetensors: folders, files, shards, with and without a config.json.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::open::{float, open, put, refused, says, uint};
use common::write::{Safetensors, f32_bytes, llama_tensors, noise};
use nine_tui::engine::format::{Checkpoint, Format};
use nine_tui::engine::{DType, Error};
use serde_json::json;

fn llama_config() -> serde_json::Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256,
        "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0, "rope_scaling": null, "vocab_size": 48, "eos_token_id": [1, 7],
        "tie_word_embeddings": false, "hidden_act": "silu"
    })
}

#[test]
fn safetensors_with_config_open_as_folder_file_and_shards() {
    let dir = tempfile::tempdir().unwrap();
    let s = llama_tensors().noise("lm_head.weight", "output.weight", &[48, 256]);
    let file = s.write(dir.path());
    put(dir.path(), "config.json", llama_config());
    let sharded = tempfile::tempdir().unwrap();
    let shards = s.write_sharded(sharded.path(), 3);
    put(sharded.path(), "config.json", llama_config());
    let loose = tempfile::tempdir().unwrap();
    let no_index = s.write_sharded(loose.path(), 3);
    std::fs::remove_file(&no_index[3]).unwrap();
    put(loose.path(), "config.json", llama_config());
    let mut ways = vec![dir.path(), &file, sharded.path(), loose.path()];
    ways.extend(shards.iter().map(|p| p.as_path()));
    ways.extend(no_index[..3].iter().map(|p| p.as_path()));
    for path in ways {
        let c = open(path);
        assert_eq!((c.format, c.path.as_path()), (Format::Safetensors, path));
        assert_eq!(c.tensors.len(), 21);
        for (name, t) in &c.tensors {
            assert_eq!(t.data, f32_bytes(&noise(name, &t.shape)), "{name}");
        }
        let down = c.tensor("blk.1.ffn_down.weight").unwrap();
        assert_eq!((down.cols(), down.rows()), (96, 256));
        assert_eq!(down.file_name, "model.layers.1.mlp.down_proj.weight");
        assert_eq!(c.arch().unwrap(), "llama");
        for (key, v) in [
            ("llama.block_count", 2),
            ("llama.embedding_length", 256),
            ("llama.feed_forward_length", 96),
            ("llama.attention.head_count", 4),
            ("llama.attention.head_count_kv", 2),
            ("llama.attention.key_length", 64),
            ("llama.rope.dimension_count", 64),
            ("llama.context_length", 512),
            ("llama.vocab_size", 48),
        ] {
            assert_eq!(uint(&c, key), v, "{key}");
        }
        assert_eq!(float(&c, "llama.rope.freq_base"), 500_000.0);
        assert_eq!(c.meta.opt_bool("nine.tied").unwrap(), Some(false));
        let eos = c.meta.opt_array("nine.eos_token_ids").unwrap().unwrap();
        assert_eq!(eos.numbers().collect::<Vec<_>>(), [1.0, 7.0]);
    }
    std::fs::remove_file(&shards[1]).unwrap();
    for path in [sharded.path(), &shards[0]] {
        let e = Checkpoint::open(path).unwrap_err();
        assert!(matches!(e, Error::Missing { .. }), "{e:?}");
        says(&e.to_string(), &["model-00002-of-00003.safetensors"]);
    }
}

#[test]
fn safetensors_with_half_of_the_vocabulary_are_tied() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = llama_config();
    let head = |s: &Safetensors| {
        let mut s = s.clone();
        s.tensors[0].0 = "lm_head.weight".into();
        s
    };
    for s in [llama_tensors(), head(&llama_tensors())] {
        s.write(dir.path());
        put(dir.path(), "config.json", &config);
        let c = open(dir.path());
        assert_eq!(c.tensor("token_embd.weight").unwrap().file_name, s.tensors[0].0);
        assert!(c.tensor("output.weight").is_err());
        assert_eq!(c.tensors.get_index(0).unwrap().0, "token_embd.weight");
        assert_eq!(c.meta.opt_bool("nine.tied").unwrap(), Some(true));
    }
    // Both are stored but the configuration ties them: the head is shown, not used.
    config["tie_word_embeddings"] = json!(true);
    put(dir.path(), "config.json", &config);
    llama_tensors().noise("lm_head.weight", "output.weight", &[48, 256]).write(dir.path());
    let c = open(dir.path());
    assert!(c.tensor("output.weight").is_err() && c.tensor("lm_head.weight").is_ok());
    assert_eq!(c.meta.opt_bool("nine.tied").unwrap(), Some(true));
}

#[test]
fn safetensors_without_config_are_inferred_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    llama_tensors().write(dir.path());
    let c = open(dir.path());
    assert_eq!(uint(&c, "llama.attention.head_count"), 4);
    assert_eq!(uint(&c, "llama.attention.head_count_kv"), 2);
    assert_eq!((uint(&c, "llama.block_count"), uint(&c, "llama.vocab_size")), (2, 48));
    says(&c.notes.join("\n"), &["config.json is missing", "heads of 64"]);
    let s = llama_tensors().noise("model.layers.0.self_attn.q_proj.bias", "x", &[256]);
    s.write(dir.path());
    says(&Checkpoint::open(dir.path()).unwrap_err().to_string(), &["config.json", "attn_q"]);
    Safetensors::new().noise("encoder.weight", "x", &[3, 4]).write(dir.path());
    says(&Checkpoint::open(dir.path()).unwrap_err().to_string(), &["config.json is missing"]);
}

#[test]
fn safetensors_of_other_types_are_listed_or_named() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "config.json", json!({"model_type": "mamba2"}));
    let s = Safetensors::new()
        .tensor("a", "F16", &[2, 3], vec![0; 12])
        .tensor("b", "BF16", &[4], vec![0; 8])
        .tensor("c", "I64", &[2], vec![0; 16])
        .tensor("d", "F64", &[], vec![0; 8]);
    s.write(dir.path());
    let c = open(dir.path());
    assert_eq!(c.arch().unwrap(), "mamba2");
    let types: Vec<_> = c.tensors.values().map(|t| t.dtype).collect();
    assert_eq!(types, [DType::F16, DType::BF16, DType::I64, DType::F64]);
    assert_eq!(c.tensor("a").unwrap().shape, [3, 2]);
    s.tensor("e.weight", "F8_E4M3", &[4], vec![0; 4]).write(dir.path());
    let e = Checkpoint::open(dir.path()).unwrap_err();
    assert!(matches!(e, Error::Unsupported { .. }));
    says(&e.to_string(), &["e.weight", "F8_E4M3"]);
}

#[test]
fn safetensors_damage_is_named() {
    let header = |text: &str, data: usize| {
        let mut out = (text.len() as u64).to_le_bytes().to_vec();
        out.extend(text.as_bytes());
        out.resize(out.len() + data, 0);
        refused("m.safetensors", &out)
    };
    let one = |entry: &str| header(&format!(r#"{{"w":{entry}}}"#), 16);
    says(&one(r#"{"dtype":"F32","shape":[4],"data_offsets":[0,20]}"#), &["tensor w", "16 bytes"]);
    says(&one(r#"{"dtype":"F32","shape":[4],"data_offsets":[8,4]}"#), &["tensor w", "at byte"]);
    says(&one(r#"{"dtype":"F32","shape":[3],"data_offsets":[0,16]}"#), &["needs 12", "has 16"]);
    says(&one(r#"{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#), &["tensor w", "[0]"]);
    says(&one(r#"{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}"#), &["tensor w"]);
    says(&one(r#"{"dtype":"F32","shape":[1,1,1,1,4],"data_offsets":[0,16]}"#), &["4 dimensions"]);
    let max = u64::MAX;
    says(
        &one(&format!(r#"{{"dtype":"F32","shape":[{max},2],"data_offsets":[0,16]}}"#)),
        &["tensor w"],
    );
    says(
        &one(&format!(r#"{{"dtype":"F32","shape":[4],"data_offsets":[16,{max}]}}"#)),
        &["tensor w"],
    );
    says(&one(r#"{"dtype":"F32","shape":[4]}"#), &["tensor w", "data_offsets"]);
    says(&one("3"), &["tensor w"]);
    says(&header("{\"w\":", 0), &["JSON", "at byte 12"]);
    let w = r#"{"dtype":"F32","shape":[4],"data_offsets":[0,16]}"#;
    says(&header(&format!(r#"{{"w":{w},"w":{w}}}"#), 16), &["overlap"]);
    says(&header(&format!(r#"{{"w":{w},"v":{w}}}"#), 16), &["w", "v", "overlap"]);
    says(&header(r#"{"\u001b[2J":0}"#, 0), &["tensor's name"]);
    let mut long = 5_000u64.to_le_bytes().to_vec();
    long.extend(b"{}");
    says(&refused("m.safetensors", &long), &["header", "5000"]);
}

#[test]
fn indices_that_lie_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let paths = llama_tensors().write_sharded(dir.path(), 2);
    put(dir.path(), "config.json", llama_config());
    let index = &paths[2];
    let text = std::fs::read_to_string(index).unwrap();
    let try_with = |text: String, parts: &[&str]| {
        std::fs::write(index, text).unwrap();
        let e = Checkpoint::open(dir.path()).unwrap_err().to_string();
        says(&e, &["model.safetensors.index.json"]);
        says(&e, parts);
    };
    let first = "model-00001-of-00002.safetensors";
    try_with(text.replace(first, "../evil.safetensors"), &["../evil.safetensors"]);
    try_with(text.replace(first, "/etc/passwd"), &["/etc/passwd"]);
    try_with(text.replace(first, ".."), &[".."]);
    try_with(text.replace("model.norm.weight", "model.norm.w"), &["model.norm.w", "does not"]);
    try_with(r#"{"weight_map":{}}"#.into(), &["empty"]);
    try_with("{}".into(), &["weight_map"]);
    try_with("{".into(), &["JSON", "at byte"]);
}
