"""Byte-level BPE, trained on real stories and a part of the sampled ones: writes tokenizer.json."""

import argparse
import json

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import stories

BOS, EOS = "<s>", "</s>"


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--real", required=True)
    args.add_argument("--sampled", required=True, help="JSON lines of sample.py")
    args.add_argument("--out", required=True)
    args.add_argument("--vocab", type=int, default=2048)
    args.add_argument("--lines", type=int, default=8000, help="sampled stories to look at")
    args = args.parse_args()

    real, _, _ = stories.split(args.real)
    with open(args.sampled, encoding="utf-8") as lines:
        sampled = [json.loads(line)["text"] for line, _ in zip(lines, range(args.lines))]

    tokenizer = Tokenizer(models.BPE())
    # This is what GGUF calls "gpt-2": its expression cuts words, then bytes become letters.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=args.vocab,
        special_tokens=[BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # The real text is small: four times, so that its words weigh about as much as the samples'.
    tokenizer.train_from_iterator(real * 4 + sampled, trainer)
    tokenizer.save(args.out)
    size = sum(map(len, real))
    print(f"{size / sum(len(tokenizer.encode(s).ids) for s in real):.3f} bytes a token of real text")


if __name__ == "__main__":
    main()
