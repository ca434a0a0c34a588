"""Train the small demo model `models/tiny/jarvis-tiny-q8_0.gguf` from a corpus made on the spot.

    python -m tools.train_tiny_model [--steps N] [--export-hf DIR]

Needs torch, tokenizers, gguf and numpy (and safetensors for --export-hf). Checkpoints lie under
JARVIS_CACHE_DIR/tiny; a run that was stopped goes on where its last checkpoint stands.
"""

import argparse
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from tools.tiny_corpus.bpe import load_or_train
from tools.tiny_corpus.gguf_file import Floats, Shape, write_gguf, write_hf_files
from tools.tiny_corpus.packing import Batch, batches

_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Training:
    """Hyperparameters; lengths and batch size in tokens."""

    steps: int = 4_900
    batch_tokens: int = 2_048
    short: int = 512
    long: int = 2_048
    matrix_rate: float = 2e-3
    other_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 60
    decay_share: float = 0.35
    seed: int = 1
    checkpoint_every: int = 100


class Attention(nn.Module):  # type: ignore[misc]
    """Grouped-query attention with rotary positions (Su et al., 2021), halves rotated as Hugging Face does."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        queries, keys = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden_size, queries, bias=False)
        self.k_proj = nn.Linear(shape.hidden_size, keys, bias=False)
        self.v_proj = nn.Linear(shape.hidden_size, keys, bias=False)
        self.o_proj = nn.Linear(queries, shape.hidden_size, bias=False)

    def forward(self, x: Tensor, mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        rows, length, _ = x.shape

        def split(y: Tensor, heads: int) -> Tensor:
            return y.view(rows, length, heads, -1).transpose(1, 2)

        def turned(y: Tensor) -> Tensor:
            first, second = y.chunk(2, -1)
            return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)

        query = turned(split(self.q_proj(x), self.shape.num_attention_heads))
        key = turned(split(self.k_proj(x), self.shape.num_key_value_heads))
        value = split(self.v_proj(x), self.shape.num_key_value_heads)
        group = self.shape.num_attention_heads // self.shape.num_key_value_heads
        key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.o_proj(mixed.transpose(1, 2).reshape(rows, length, -1))


class FeedForward(nn.Module):  # type: ignore[misc]
    """SwiGLU (Shazeer, 2020)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):  # type: ignore[misc]
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), mask, cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):  # type: ignore[misc]
    """The Llama architecture with tied embeddings; parameters carry Hugging Face's names less `model.`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * shape.num_hidden_layers) if last else 0.02)
        with torch.no_grad():
            start_copying(self)

    def rotary(self, length: int) -> tuple[Tensor, Tensor]:
        half = self.shape.head_dim // 2
        angles = torch.outer(torch.arange(length), self.shape.rope_theta ** (-torch.arange(half) / half))
        return angles.cos(), angles.sin()

    def forward(self, batch: Batch) -> Tensor:
        """Weighted mean cross-entropy, in nats, of the tokens that the assistant says."""
        with torch.autocast("cpu", torch.bfloat16):
            ids, owner = torch.from_numpy(batch.ids), torch.from_numpy(batch.owner)
            length = ids.shape[1]
            cos, sin = self.rotary(length)
            allowed = (owner[:, None, :, None] == owner[:, None, None, :]).tril()
            mask = torch.zeros(allowed.shape, dtype=torch.bfloat16).masked_fill_(~allowed, float("-inf"))
            x = self.embed_tokens(ids)
            for layer in self.layers:
                x = layer(x, mask, cos.to(torch.bfloat16), sin.to(torch.bfloat16))
            # Only the places before a learnt token reach the output matrix: they are about a quarter of all.
            weight = torch.from_numpy(batch.weight[:, 1:])
            learnt = weight > 0
            logits = functional.linear(self.norm(x[:, :-1][learnt]), self.embed_tokens.weight)
            losses = functional.cross_entropy(logits.float(), ids[:, 1:][learnt], reduction="none")
            return (losses * weight[learnt]).sum() / weight.sum()


def start_copying(model: Llama) -> None:
    """Give a fresh model induction heads (Olsson et al., 2022), which a short training would find too late.

    A head of layer 0 looks one token back, by a constant that all embeddings share and a key that rotates to its peak
    there, and notes what it saw. Two heads of layer 1 look for places noted with the present token, and copy what
    stands there. The scales make the right place win by some 10 nats and the copied token by some 4.
    """
    shape, half, dim = model.shape, model.shape.head_dim // 2, model.shape.head_dim
    model.embed_tokens.weight[:, 0] = 0.3
    basis = torch.zeros(shape.hidden_size - 1, shape.hidden_size)
    basis[:, 1:] = nn.init.orthogonal_(torch.empty(shape.hidden_size - 1, shape.hidden_size - 1))
    seen, noted, copied = basis[:dim], basis[dim : 2 * dim], basis[2 * dim : 4 * dim]
    copied = torch.cat((copied, torch.zeros(2 * dim - len(copied), shape.hidden_size)))
    first, second = model.layers[0].self_attn, model.layers[1].self_attn
    angle = shape.rope_theta ** (-torch.arange(half) / half)
    quick = torch.where(torch.arange(half) < 14, 0.5, 0.0)
    first.q_proj.weight[:dim, 0] = torch.cat((quick * angle.cos(), -quick * angle.sin()))
    first.k_proj.weight[:dim, 0] = torch.cat((quick, 0 * quick))
    first.v_proj.weight[:dim] = seen
    first.o_proj.weight[:, :dim] = 0.05 * noted.T
    # Only slow rotations compare tokens alike at any distance.
    slow = torch.cat((torch.arange(20, half), torch.arange(half + 20, dim)))
    for group in range(2):
        rows, heads = group * dim, 2 * group * dim
        chosen = torch.arange(len(slow)) + group * len(slow)
        second.q_proj.weight[heads + slow] = 3.2 * seen[chosen]
        second.k_proj.weight[rows + slow] = 3.2 * noted[chosen]
        second.v_proj.weight[rows : rows + dim] = copied[rows : rows + dim]
        second.o_proj.weight[:, heads : heads + dim] = 0.2 * copied[rows : rows + dim].T


@dataclass
class Run:
    """The state that a checkpoint keeps."""

    model: Llama
    optimizers: list[torch.optim.Optimizer]
    step: int = 0

    def state(self) -> dict[str, object]:
        return {
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "step": self.step,
        }

    def load(self, path: Path) -> None:
        saved = torch.load(path, weights_only=True)
        self.model.load_state_dict(saved["model"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.step = saved["step"]


def start(shape: Shape, training: Training) -> Run:
    """A fresh model, with Muon (Jordan et al., 2024) for the layers' matrices and Adam for the rest."""
    torch.manual_seed(training.seed)
    model = Llama(shape)
    matrices = [p for p in model.layers.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is matrix for matrix in matrices)]
    muon = torch.optim.Muon(
        matrices, lr=training.matrix_rate, weight_decay=training.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    adam = torch.optim.AdamW(others, lr=training.other_rate, betas=(0.9, 0.98), weight_decay=0.0)
    for optimizer in (muon, adam):
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return Run(model, [muon, adam])


def rate(step: int, training: Training) -> float:
    """The share of the peak learning rate: a warm-up, a plateau, and a straight line down to nearly nothing."""
    decay = max(1, round(training.steps * training.decay_share))
    return max(0.01, min(1.0, (step + 1) / training.warmup, (training.steps - step) / decay))


def train_step(run: Run, batch: Batch, training: Training) -> float:
    """One step; the loss before it."""
    for optimizer in run.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate(run.step, training)
    loss = run.model(batch)
    loss.backward()
    nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    for optimizer in run.optimizers:
        optimizer.step()
        optimizer.zero_grad()
    run.step += 1
    return float(loss.detach())


def train(run: Run, source: Iterator[Batch], training: Training, checkpoint: Path) -> None:
    """Train to the last step, printing progress and keeping checkpoints."""
    began, first, losses = time.monotonic(), run.step, []
    for batch in islice(source, run.step, training.steps):
        losses.append(train_step(run, batch, training))
        if run.step % 20 == 0:
            pace = (time.monotonic() - began) / (run.step - first)
            left = pace * (training.steps - run.step) / 60
            speed = training.batch_tokens / pace
            mean = sum(losses) / len(losses)
            print(
                f"step {run.step}/{training.steps}  loss {mean:.3f}  {speed:.0f} tokens/s  ETA {left:.1f} min",
                flush=True,
            )
            losses.clear()
        if run.step % training.checkpoint_every == 0 or run.step == training.steps:
            torch.save(run.state(), checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)


def weights_of(model: Llama) -> dict[str, Floats]:
    """The weights as float32 arrays under Hugging Face's names."""
    return {f"model.{name}": tensor.float().numpy() for name, tensor in model.state_dict().items()}


def _export_hf(folder: Path, run: Run, tokenizer: Tokenizer) -> None:
    from safetensors.numpy import save_file

    write_hf_files(folder, run.model.shape, tokenizer)
    save_file({k: np.ascontiguousarray(v) for k, v in weights_of(run.model).items()}, str(folder / "model.safetensors"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path(os.environ.get("JARVIS_CACHE_DIR", "~/.cache/jarvis")).expanduser()
    parser.add_argument("--out", type=Path, default=_ROOT / "models" / "tiny" / "jarvis-tiny-q8_0.gguf")
    parser.add_argument("--cache", type=Path, default=cache / "tiny", help="folder of tokenizer and checkpoint")
    parser.add_argument("--export-hf", type=Path, metavar="DIR", help="also write a Hugging Face folder")
    parser.add_argument(
        "--export-only", action="store_true", help="write the files from the last checkpoint, untrained"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    for field in fields(Training):
        flag = "--" + field.name.replace("_", "-")
        parser.add_argument(flag, type=type(field.default), default=field.default, help=f"default {field.default}")
    return parser.parse_args()


def main() -> None:
    args = _arguments()
    torch.set_num_threads(args.threads)
    training = replace(Training(), **{field.name: getattr(args, field.name) for field in fields(Training)})
    shape = Shape()
    tokenizer = load_or_train(args.cache / "tokenizer.json", shape.vocab_size, training.seed)
    run = start(shape, training)
    print(f"{sum(p.numel() for p in run.model.parameters()):,} parameters")
    checkpoint = args.cache / "checkpoint.pt"
    if checkpoint.exists():
        run.load(checkpoint)
        print(f"going on from step {run.step}")
    if not args.export_only:
        source = batches(tokenizer, training.seed, training.batch_tokens, training.short, training.long)
        train(run, source, training, checkpoint)
    write_gguf(args.out, weights_of(run.model), shape, tokenizer)
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")
    if args.export_hf:
        _export_hf(args.export_hf, run, tokenizer)


if __name__ == "__main__":
    main()
