"""The model: llama with tied embeddings, and rotation of neighbouring pairs as GGUF has it."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass
class Config:
    vocab: int = 2048
    context: int = 512
    width: int = 128
    layers: int = 6
    heads: int = 4
    kv_heads: int = 4
    hidden: int = 352
    theta: float = 10000.0
    eps: float = 1e-5

    @property
    def head(self):
        return self.width // self.heads


def rotation(config, length):
    """cos and signed sin of every feature, [length, 1, head]; pair i is the features 2i and 2i + 1."""
    exponents = torch.arange(0, config.head, 2).float() / config.head
    angles = torch.outer(torch.arange(length).float(), config.theta**-exponents)
    sin = torch.stack((-angles.sin(), angles.sin()), -1).flatten(1)
    return angles.cos().repeat_interleave(2, 1)[:, None], sin[:, None]


def rotate(x, cos, sin):
    """x: [batch, length, heads, head]."""
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return x * cos + swapped * sin


def attend(q, k, v):
    """[batch, heads, length, head] each. On a processor far faster in bf16 than torch's own."""
    length = q.shape[2]
    mask = torch.full((length, length), -1e30, dtype=q.dtype).triu(1)
    q, k, v = (x.flatten(0, 1) for x in (q, k, v))
    scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=q.shape[2] ** -0.5)
    return scores.softmax(-1, dtype=q.dtype) @ v


class Norm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        kv = c.kv_heads * c.head
        self.attn_norm, self.ffn_norm = Norm(c.width, c.eps), Norm(c.width, c.eps)
        self.attn_q = nn.Linear(c.width, c.width, bias=False)
        self.attn_k = nn.Linear(c.width, kv, bias=False)
        self.attn_v = nn.Linear(c.width, kv, bias=False)
        self.attn_output = nn.Linear(c.width, c.width, bias=False)
        self.ffn_gate = nn.Linear(c.width, c.hidden, bias=False)
        self.ffn_up = nn.Linear(c.width, c.hidden, bias=False)
        self.ffn_down = nn.Linear(c.hidden, c.width, bias=False)

    def forward(self, x, cos, sin):
        c, (batch, length, _) = self.c, x.shape
        h = self.attn_norm(x)
        q = rotate(self.attn_q(h).view(batch, length, c.heads, c.head), cos, sin)
        k = rotate(self.attn_k(h).view(batch, length, c.kv_heads, c.head), cos, sin)
        v = self.attn_v(h).view(batch, length, c.kv_heads, c.head)
        if c.heads != c.kv_heads:
            k, v = (t.repeat_interleave(c.heads // c.kv_heads, 2) for t in (k, v))
        h = attend(*(t.transpose(1, 2) for t in (q, k, v))).unflatten(0, (batch, c.heads))
        x = x + self.attn_output(h.transpose(1, 2).flatten(2))
        h = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.token_embd = nn.Embedding(c.vocab, c.width)
        self.blk = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.output_norm = Norm(c.width, c.eps)
        cos, sin = rotation(c, c.context)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        nn.init.normal_(self.token_embd.weight, std=0.02)
        for name, p in self.named_parameters():
            if p.ndim == 2 and not name.startswith("token_embd"):
                into_stream = name.endswith(("attn_output.weight", "ffn_down.weight"))
                scale = (2 * c.layers) ** -0.5 if into_stream else 1.0
                nn.init.normal_(p, std=scale * p.shape[1] ** -0.5)

    def forward(self, tokens):
        """tokens: [batch, length] → logits [batch, length, vocab]."""
        x = self.token_embd(tokens)
        kind = torch.bfloat16 if torch.is_autocast_enabled("cpu") else x.dtype
        cos, sin = (t[: tokens.shape[1]].to(kind) for t in (self.cos, self.sin))
        for block in self.blk:
            x = block(x, cos, sin)
        return F.linear(self.output_norm(x), self.token_embd.weight)
