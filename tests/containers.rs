//! One model in two containers: SmolLM2 as the Q4_1 GGUF of its package, and decoded from it to a
//! safetensors folder as Hugging Face has it (rows in the other pairing, another tokenizer file),
//! says the same.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::write::{Safetensors, f32_bytes};
use nine_tui::engine::Checkpoint;
use nine_tui::engine::cancel::Cancel;
use nine_tui::engine::kernels::Kernels;
use nine_tui::engine::model::{Load, Model};
use nine_tui::engine::quant;
use nine_tui::engine::session::{Compute, Prompt, Session, Setup, Step};
use nine_tui::engine::tokenizer::{Encode, LoadOptions};
use nine_tui::engine::workers::Workers;
use serde_json::{Value, json};

const N_HEAD: usize = 9;
const N_HEAD_KV: usize = 3;

/// Hugging Face's name of a tensor, and over how many heads its rows are permuted in GGUF.
fn hf_name(name: &str) -> (String, usize) {
    let fixed = match name {
        "token_embd.weight" => "model.embed_tokens.weight",
        "output_norm.weight" => "model.norm.weight",
        _ => "",
    };
    if !fixed.is_empty() {
        return (fixed.into(), 0);
    }
    let mut parts = name.split('.');
    let (blk, layer, part) = (parts.next(), parts.next(), parts.next());
    assert_eq!(blk, Some("blk"), "{name}");
    let (hf, heads) = match part.expect("part") {
        "attn_norm" => ("input_layernorm", 0),
        "ffn_norm" => ("post_attention_layernorm", 0),
        "attn_q" => ("self_attn.q_proj", N_HEAD),
        "attn_k" => ("self_attn.k_proj", N_HEAD_KV),
        "attn_v" => ("self_attn.v_proj", 0),
        "attn_output" => ("self_attn.o_proj", 0),
        "ffn_gate" => ("mlp.gate_proj", 0),
        "ffn_up" => ("mlp.up_proj", 0),
        "ffn_down" => ("mlp.down_proj", 0),
        other => panic!("unexpected part {other}"),
    };
    (format!("model.layers.{}.{hf}.weight", layer.expect("layer")), heads)
}

/// Writes the folder: f32 weights, config.json, tokenizer.json.
fn decode_to(ckpt: &Checkpoint, dir: &Path) {
    let mut file = Safetensors::new();
    for (name, t) in &ckpt.tensors {
        let (cols, rows) = (t.cols(), t.rows());
        let mut x = vec![0f32; t.len()];
        let row_bytes = t.data.len() / rows;
        for (data, out) in t.data.chunks_exact(row_bytes).zip(x.chunks_exact_mut(cols)) {
            assert!(quant::decode_row(t.dtype, data, out), "{name}");
        }
        let (hf, heads) = hf_name(name);
        if let Some(hd) = rows.checked_div(heads) {
            // GGUF pairs neighbours (2i, 2i + 1), Hugging Face halves (i, i + half).
            let permuted = x.clone();
            for r in 0..rows {
                let (head, at) = (r / hd, r % hd);
                let from = head * hd + 2 * (at % (hd / 2)) + at / (hd / 2);
                x[r * cols..(r + 1) * cols]
                    .copy_from_slice(&permuted[from * cols..(from + 1) * cols]);
            }
        }
        let shape: Vec<usize> = t.shape.iter().rev().copied().collect();
        file = file.tensor(&hf, "F32", &shape, f32_bytes(&x));
    }
    file.write(dir);
    let key = |k: &str| ckpt.meta.uint(&format!("llama.{k}")).expect("key");
    let float = |k: &str| ckpt.meta.opt_float(&format!("llama.{k}")).expect("key").expect("there");
    let config = json!({
        "model_type": "llama",
        "hidden_size": key("embedding_length"),
        "intermediate_size": key("feed_forward_length"),
        "num_hidden_layers": key("block_count"),
        "num_attention_heads": N_HEAD,
        "num_key_value_heads": N_HEAD_KV,
        "max_position_embeddings": key("context_length"),
        "rms_norm_eps": float("attention.layer_norm_rms_epsilon"),
        "rope_theta": float("rope.freq_base"),
        "rope_scaling": null,
        "hidden_act": "silu",
        "tie_word_embeddings": true,
        "vocab_size": ckpt.tensors["token_embd.weight"].rows(),
    });
    std::fs::write(dir.join("config.json"), config.to_string()).expect("written");
    std::fs::write(dir.join("tokenizer.json"), tokenizer_json(ckpt).to_string()).expect("written");
}

/// The GGUF's vocabulary as SmolLM2's own tokenizer.json has it: digits alone, then bytes.
fn tokenizer_json(ckpt: &Checkpoint) -> Value {
    let array = |k: &str| ckpt.meta.opt_array(k).expect("array").expect("there");
    let text = |b: &[u8]| String::from_utf8(b.to_vec()).expect("UTF-8");
    let tokens: Vec<String> = array("tokenizer.ggml.tokens").strings().map(text).collect();
    let kinds: Vec<f64> = array("tokenizer.ggml.token_type").numbers().collect();
    let merges: Vec<String> = array("tokenizer.ggml.merges").strings().map(text).collect();
    let (mut vocab, mut added) = (serde_json::Map::new(), Vec::new());
    for (id, (token, kind)) in tokens.iter().zip(&kinds).enumerate() {
        vocab.insert(token.clone(), json!(id));
        if *kind == 3.0 {
            added.push(json!({
                "id": id, "content": token, "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false,
            }));
        }
    }
    json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Digits", "individual_digits": true },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
              "use_regex": true },
        ]},
        "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
                     "use_regex": true },
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "byte_fallback": false,
                   "ignore_merges": false, "vocab": vocab, "merges": merges },
    })
}

fn load(path: &Path) -> Arc<Model> {
    let ckpt = Checkpoint::open(path).expect("opens");
    let how = Load { kernels: Kernels::detect(), exact: true, tokenizer: LoadOptions::default() };
    Model::load(&ckpt, how).expect("loads")
}

fn greedy(model: &Arc<Model>, prompt: &str, n: usize) -> String {
    let mut setup = Setup { n_ctx: 128, ..Setup::default() };
    setup.params.temp = 0.0;
    let mut s = Session::new(Arc::clone(model), setup).expect("session");
    let tokens = s.encode(&Prompt::Text(prompt.into())).expect("encodes").tokens;
    s.push(&tokens).expect("fits");
    s.begin(n);
    let (workers, cancel) = (Workers::new(2), Cancel::new());
    let mut text = String::new();
    for step in s.steps(Compute { workers: &workers, cancel: &cancel }) {
        match step.expect("step") {
            Step::Prefill { .. } => {}
            Step::Piece(p) => text.push_str(&p.text),
            Step::Stop { text: tail, .. } => text.push_str(&tail),
        }
    }
    text
}

#[test]
fn smollm2_says_the_same_as_gguf_and_as_a_safetensors_folder() {
    let path = common::cached("SmolLM2-135M-Instruct.Q4_1.gguf");
    let dir = tempfile::tempdir().expect("folder");
    decode_to(&Checkpoint::open(&path).expect("opens"), dir.path());
    let (a, b) = (load(&path), load(dir.path()));
    for prompt in ["Once upon a time", "The capital of France is", "2 + 2 = 4, and 1234567 × 3 ="]
    {
        let how = Encode { bos: true, special: false };
        assert_eq!(a.tokenizer.encode(prompt, how), b.tokenizer.encode(prompt, how));
        let (a, b) = (greedy(&a, prompt, 48), greedy(&b, prompt, 48));
        assert!(a.len() > 40);
        assert_eq!(a, b, "after {prompt:?}");
    }
}
