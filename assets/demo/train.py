"""Trains the model on two streams of stories, real and sampled, and writes checkpoints.

The schedule follows the time spent, not the steps: a slow machine takes fewer steps, but its
learning rate reaches zero as well. Stopped and started again it goes on from its checkpoint.
"""

import argparse
import json
import math
import os
import time
from dataclasses import asdict

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional as F

import stories
from model import Config, Model

BOS, EOS = 0, 1
TOKENS = 4096  # a step
SHARE = 2048  # of them at once: what stays in the caches of a small processor
PEAK_MUON, PEAK_ADAM = 0.02, 4e-3


class Stream:
    """Stories one after the other in a shuffled order, again and again, cut into rows."""

    def __init__(self, tokens, starts, seed):
        self.tokens, self.starts, self.random = tokens, starts, np.random.default_rng(seed)
        self.rest, self.order = np.empty(0, np.uint16), []
        self.seen = 0

    def state(self):
        return dict(rest=self.rest, order=self.order, seen=self.seen, random=self.random)

    def rows(self, count, length):
        parts, have = [self.rest], len(self.rest)
        while have < count * length + 1:
            if not len(self.order):
                self.order = self.random.permutation(len(self.starts) - 1)
            i, self.order = self.order[0], self.order[1:]
            parts.append(self.tokens[self.starts[i] : self.starts[i + 1]])
            have += len(parts[-1])
        stream = np.concatenate(parts)
        self.rest = stream[count * length :]  # the last target is the next row's first input
        self.seen += count * length
        take = np.arange(count)[:, None] * length + np.arange(length + 1)
        return stream[take].astype(np.int64)


def encode(tokenizer, texts, ends):
    """(tokens, starts): every story opens with BOS and, unless it was cut off, ends with EOS."""
    parts, starts = [], [0]
    for i in range(0, len(texts), 1000):
        for encoding, end in zip(tokenizer.encode_batch_fast(texts[i : i + 1000]), ends[i : i + 1000]):
            parts.append(np.array([BOS, *encoding.ids] + [EOS] * end, np.uint16))
            starts.append(starts[-1] + len(parts[-1]))
    return np.concatenate(parts), np.array(starts)


def streams(args):
    tokenizer = Tokenizer.from_file(args.tokenizer)
    real, dev, _ = stories.split(args.real)
    with open(args.sampled, encoding="utf-8") as lines:
        sampled = [story for story in map(json.loads, lines) if story["text"]]
    made = encode(tokenizer, [s["text"] for s in sampled], [s["end"] for s in sampled])
    real, dev = (encode(tokenizer, x, [True] * len(x)) + (x,) for x in (real, dev))
    return Stream(*real[:2], args.seed), Stream(*made, args.seed + 1), dev


def orthogonal(g):
    """Newton–Schulz towards the nearest orthogonal matrices of a stack (Muon; Jordan et al. 2024)."""
    turned = g.shape[1] > g.shape[2]
    x = g.transpose(1, 2) if turned else g
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.transpose(1, 2) if turned else x


class Muon:
    """For the matrices of the blocks; equal shapes are turned orthogonal together."""

    def __init__(self, parameters):
        self.groups = {}
        for p in parameters:
            self.groups.setdefault(tuple(p.shape), []).append(p)
        self.momenta = {s: torch.zeros(len(g), *s) for s, g in self.groups.items()}

    @torch.no_grad()
    def step(self, rate, momentum, decay=0.05):
        for shape, group in self.groups.items():
            grad, m = torch.stack([p.grad for p in group]), self.momenta[shape]
            m.lerp_(grad, 1 - momentum)
            update = orthogonal(grad.lerp(m, momentum)) * max(1, shape[0] / shape[1]) ** 0.5
            for p, u in zip(group, update):
                p.mul_(1 - rate * decay).sub_(u, alpha=rate)


def schedule(done):
    """(factor of the learning rate, part of the real text's epochs that is due, row length) at a
    part `done` of the time."""
    factor = min(1, done / 0.02) * min(1, (1 - done) / 0.6)
    return max(factor, 0.0), done * (1 + done) / 2, 256 if done < 0.85 else 512


@torch.no_grad()
def bits_per_byte(model, dev):
    """A quick figure: the first 511 tokens of each story, one story at a time."""
    tokens, starts, texts = dev
    bits = size = 0
    for i in range(len(starts) - 1):
        row = torch.from_numpy(tokens[starts[i] : starts[i + 1] - 1][:512].astype(np.int64))[None]
        logits = model(row[:, :-1])[0].float()
        bits += F.cross_entropy(logits, row[0, 1:], reduction="sum").item() / math.log(2)
        size += len(texts[i]) * (row.shape[1] - 1) / (starts[i + 1] - starts[i] - 2)
    return bits / size


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--real", required=True)
    args.add_argument("--sampled", required=True)
    args.add_argument("--tokenizer", required=True)
    args.add_argument("--out", required=True, help="checkpoint, written every few minutes")
    args.add_argument("--minutes", type=float, default=100)
    args.add_argument("--epochs", type=float, default=15, help="how often the real text is seen")
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--seed", type=int, default=9)
    args.add_argument("--eager", action="store_true", help="no torch.compile, which needs a C++ compiler")
    args.add_argument("--every", type=float, default=180, help="seconds between checkpoints")
    args.add_argument("--config", type=json.loads, default={}, help="JSON of changes to Config")
    args = args.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    real, made, dev = streams(args)
    model = Model(Config(**args.config))
    matrices = [p for p in model.blk.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is m for m in matrices)]
    muon = Muon(matrices)
    adam = torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0)
    step = spent = 0
    if os.path.exists(args.out):
        saved = torch.load(args.out, weights_only=False)
        model.load_state_dict(saved["model"])
        adam.load_state_dict(saved["adam"])
        muon.momenta, step, spent = saved["muon"], saved["step"], saved["spent"]
        real.__dict__.update(saved["real"])
        made.__dict__.update(saved["made"])
    size = sum(p.numel() for p in model.parameters())
    print(f"{size} parameters, {len(real.tokens)} real and {len(made.tokens)} sampled tokens", flush=True)

    def forward(rows):
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(rows[:, :-1])
        return F.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())

    if not args.eager:
        forward = torch.compile(forward, dynamic=False)

    def save():
        score = bits_per_byte(model, dev)
        print(
            f"{spent:6.0f} s  step {step}  real {real.seen / len(real.tokens):.2f} and sampled "
            f"{made.seen / len(made.tokens):.2f} epochs  loss {losses / max(1, counted):.3f}  "
            f"development {score:.4f} bits per byte",
            flush=True,
        )
        state = dict(model=model.state_dict(), adam=adam.state_dict(), muon=muon.momenta)
        state |= dict(real=real.state(), made=made.state())
        state |= dict(step=step, spent=spent, config=asdict(model.c))
        torch.save(state, args.out + ".part")
        os.replace(args.out + ".part", args.out)

    total, last, losses, counted = args.minutes * 60, spent, 0.0, 0
    forward(torch.zeros(SHARE // 256, 257, dtype=torch.long)).backward()  # compiles
    model.zero_grad()
    begun = time.monotonic() - spent
    while spent < total:
        factor, due, length = schedule(spent / total)
        count = SHARE // length
        for _ in range(TOKENS // SHARE):
            # A slow machine sees the real text as often, and fewer samples.
            late = args.epochs * len(real.tokens) * due - real.seen
            reals = min(max(round(late / length), 0), count // 2)
            rows = [s.rows(n, length) for s, n in ((real, reals), (made, count - reals)) if n]
            rows = torch.from_numpy(np.concatenate(rows))
            loss = forward(rows)
            (loss * SHARE / TOKENS).backward()
            losses, counted = losses + loss.item(), counted + 1
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        muon.step(PEAK_MUON * factor, min(0.95, 0.85 + step / 3000))
        for group in adam.param_groups:
            group["lr"] = PEAK_ADAM * factor
        adam.step()
        model.zero_grad()
        step, spent = step + 1, time.monotonic() - begun
        if spent - last >= args.every:
            save()
            last, losses, counted = spent, 0.0, 0
    save()


if __name__ == "__main__":
    main()
