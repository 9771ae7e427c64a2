#!/usr/bin/env python3
"""Makes the vectors of tests/tokenizer_json.rs with Hugging Face's own library.

Small BPE tokenizers are trained on the text below, each with other parts, and asked for the ids of
the same texts. Run with the packages of requirements.txt; writes NAME.json beside this file:

    tokenizer   the tokenizer.json
    plain       ids without special tokens: their spelling is text
    special     ids with special tokens recognised and the post-processor's added, null where
                they are the plain ones
    decoded     text of the plain ids, null where it is the text itself
"""

import json
import pathlib

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)

HERE = pathlib.Path(__file__).parent

CORPUS = """
The quick brown fox jumps over the lazy dog. It's what they've said: we'll see, won't we?
In 1984 there were 123456 of them; in 2001 only 12. "Don't panic," said Tim's mother, and smiled.
Once upon a time there was a little girl who lived in a small house near the big forest.
She liked to play with the dog, and the dog liked to play with the ball. They were happy together.
fn main() { let x = 10; for i in 0..x { println!("{i}"); } }    // four spaces
Le café était fermé à midi. Der Bär läuft über die Straße. Быстрая лиса прыгает через собаку.
今日は良い天気ですね。今日は日曜日です。 中文分词是一个问题，中文没有空格。 안녕하세요 세계
HELLO WORLD Hello World hello world THE END The End the end
the there these those then than that this thing think three through
""".strip().split("\n")

TEXTS = [
    "",
    " ",
    "  ",
    "\n",
    "\n\n\n",
    "\t\ttabs\n",
    "Hello world",
    " Hello world",
    "Hello  world ",
    "   three   spaces   ",
    "It's what they've said: we'll see, WON'T WE? i'D I'M",
    "In 1984 there were 123456 of them, 1, 12, 1234567890.",
    "x=3.14159e-10;y=[1,2,3]",
    "fn main() {\n    let x = 10;\n\treturn;\n}\n",
    "le café, le cafe\u0301, A\u030angstro\u0308m \u212b",
    "Ünïcödé ﬁne ½ ² ①",
    "Быстрая лиса прыгает",
    "今日は良い天気ですね。",
    "안녕하세요 세계",
    "مرحبا بالعالم ١٢٣",
    "हिन्दी में पाठ",
    "🦀 crab 👨‍👩‍👧 family 🇩🇪",
    "\u00a0non\u00a0breaking\u3000ideographic\u2003em",
    "end.\r\nnext\r\n\r\nlast\n \n",
    "a,b;c!d?e...f--g__h//i",
    "<s>begin</s> <s> x </s>",
    "word<tool>word <tool> word",
    "mark <mask> here<mask>and<mask>  there",
    "a word, words, sword, word",
    "NAME name Name",
    "▁already▁ marked ▁",
    "Ġalready Ċ mapped Â",
    "<0x41> is a byte <0xFF>",
    "\u0000control\u0007s\u007f",
    "the there these those then than that this thing",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "$100 + 5% = £20 & €3 ~ ^caret `tick` |pipe| <angle>",
    "CamelCaseWords HTTPServer iPhone",
    "trailing newline\n",
    "(parenthesised) [bracketed] {braced} 'quoted' \"double\"",
]

SPECIAL = ["<unk>", "<s>", "</s>"]

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
         r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
         r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK_V3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
               r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+"
               r"|\s+(?!\S)|\s+")
BYTES = [f"<0x{b:02X}>" for b in range(256)]


def train(tok, vocab_size, byte_level, fallback=False):
    tok.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL + (BYTES if fallback else []),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if byte_level else [],
        show_progress=False))
    if fallback:
        # the trainer calls them special; in a vocabulary they are ordinary entries
        j = json.loads(tok.to_str())
        j["added_tokens"] = [t for t in j["added_tokens"] if t["content"] in SPECIAL]
        tok = Tokenizer.from_str(json.dumps(j))
    return tok


def byte_level(pre, norm=None, size=330, **model):
    tok = Tokenizer(models.BPE(**model))
    if norm:
        tok.normalizer = norm
    tok.pre_tokenizer = pre
    tok.decoder = decoders.ByteLevel()
    return train(tok, size, True)


def text_level(pre, norm, decoder, size=260, fallback=False, **model):
    tok = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=fallback, **model))
    if norm:
        tok.normalizer = norm
    if pre:
        tok.pre_tokenizer = pre
    tok.decoder = decoder
    return train(tok, size + (256 if fallback else 0), False, fallback)


def bos(tok, both=False):
    tok.post_processor = processors.TemplateProcessing(
        single="<s> $A" + (" </s>" if both else ""), pair=None,
        special_tokens=[("<s>", tok.token_to_id("<s>")), ("</s>", tok.token_to_id("</s>"))])
    return tok


def seq(*parts):
    return pre_tokenizers.Sequence(list(parts))


def level(regex=False, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def added(tok):
    tok.add_tokens([
        AddedToken("<tool>", normalized=False),
        AddedToken("word", single_word=True, normalized=False),
        AddedToken("name", normalized=True),
    ])
    tok.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True, special=True)])
    return tok


LLAMA_DECODER = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]


def tokenizers():
    yield "gpt2", byte_level(level(regex=True))
    yield "gpt2_prefix", byte_level(level(regex=True, prefix=True))
    yield "llama3", bos(byte_level(
        seq(pre_tokenizers.Split(Regex(LLAMA3), "isolated"), level()), ignore_merges=True))
    yield "gpt4o", byte_level(
        seq(pre_tokenizers.Split(Regex(GPT4O), "removed", invert=True), level()))
    yield "deepseek_v3", byte_level(seq(
        pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"),
        pre_tokenizers.Split(Regex("[一-龥぀-ゟ゠-ヿ]+"), "isolated"),
        pre_tokenizers.Split(Regex(DEEPSEEK_V3), "isolated"), level()))
    yield "qwen2", byte_level(
        seq(pre_tokenizers.Split(Regex(LLAMA3.replace("{1,3}", "")), "isolated"), level()),
        normalizers.NFC())
    yield "smollm", byte_level(
        seq(pre_tokenizers.Digits(individual_digits=True), level(regex=True)))
    yield "falcon", byte_level(seq(
        pre_tokenizers.Punctuation("contiguous"), level(regex=True),
        pre_tokenizers.Digits(individual_digits=False),
        pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")))
    yield "added", added(byte_level(level(regex=True), normalizers.Lowercase()))
    yield "llama2", bos(text_level(
        None, normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        decoders.Sequence(LLAMA_DECODER + [decoders.Strip(" ", 1, 0)]),
        fallback=True, fuse_unk=True))
    yield "gemma", bos(text_level(
        pre_tokenizers.Split(" ", "merged_with_previous"), normalizers.Replace(" ", "▁"),
        decoders.Sequence(LLAMA_DECODER), fallback=True, fuse_unk=True))
    for scheme in ["first", "always", "never"]:
        yield f"metaspace_{scheme}", added(text_level(
            pre_tokenizers.Metaspace(prepend_scheme=scheme),
            normalizers.NFKC(), decoders.Metaspace(prepend_scheme=scheme),
            fuse_unk=scheme == "first"))
    # the library's Metaspace decoder drops every mark of the first token; Strip drops one, as here
    yield "metaspace_whole", text_level(
        pre_tokenizers.Metaspace("_", prepend_scheme="first", split=False), None,
        decoders.Sequence([decoders.Replace("_", " "), decoders.Fuse(),
                           decoders.Strip(" ", 1, 0)]))
    yield "words", text_level(
        pre_tokenizers.Whitespace(), normalizers.Sequence([
            normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(),
            normalizers.Strip()]), decoders.Fuse())
    yield "bert", text_level(
        pre_tokenizers.BertPreTokenizer(), normalizers.NFKD(), decoders.Fuse())
    yield "splits", text_level(
        seq(pre_tokenizers.CharDelimiterSplit("_"), pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex("[aeiou]+"), "merged_with_next"),
            pre_tokenizers.Split(Regex("[.,;]"), "contiguous"),
            pre_tokenizers.Punctuation("merged_with_previous")),
        normalizers.Replace(Regex(r"l{2,}|\d"), "L"), decoders.Fuse())


def main():
    total = 0
    for name, tok in tokenizers():
        plain, special, decoded = [], [], []
        for text in TEXTS:
            tok.encode_special_tokens = True
            ids = tok.encode(text, add_special_tokens=False).ids
            plain.append(ids)
            back = tok.decode(ids, skip_special_tokens=True)
            decoded.append(None if back == text else back)
            tok.encode_special_tokens = False
            with_special = tok.encode(text, add_special_tokens=True).ids
            special.append(None if with_special == ids else with_special)
        out = {"tokenizer": json.loads(tok.to_str()), "plain": plain, "special": special,
               "decoded": decoded}
        path = HERE / f"{name}.json"
        path.write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")
        total += path.stat().st_size
        print(name, path.stat().st_size, tok.get_vocab_size())
    path = HERE / "texts.json"
    path.write_text(json.dumps(TEXTS, ensure_ascii=False, indent=0) + "\n")
    print("total", total + path.stat().st_size)


if __name__ == "__main__":
    main()
