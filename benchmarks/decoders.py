"""Contestants of decoding.py: each reads tokens of some texts, a prompt at first, then one by one.

Random weights, the same shapes. llama.cpp gets GGUF files that are written here (F16) and quantised
by its own tool; its package is llama-cpp-python. All names of peers are imported by their own
function only.
"""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

PROMPT = 16
"""Tokens that stand before those whose decoding is timed."""


class Shape(NamedTuple):
    kind: str
    layers: int
    dim: int
    heads: int
    kv_heads: int
    hidden: int
    vocab: int
    context: int
    head_dim: int = 64


SHAPES = {
    "15m": Shape("llama", 6, 288, 6, 6, 768, 32_000, 1024, 48),
    "gpt2": Shape("gpt2", 12, 768, 12, 12, 3072, 50_257, 1024),
    "0.5b": Shape("qwen2", 24, 896, 14, 2, 4864, 151_936, 1024),
}


class Contestant(Protocol):
    def begin(self, texts: int, tokens: int) -> None:
        """Forget everything, then read a prompt of so many tokens in each text."""

    def step(self) -> None:
        """Read one more token of each text, to logits."""


def make(
    contestant: str, shape: str, folder: Path, threads: int, clock: Callable[[], float]
) -> Contestant:
    from decoders_torch import CTranslate2, OpenVino, Transformers

    package, _, kind = contestant.partition("-")
    makers: dict[str, Callable[..., Contestant]] = {
        "ownlm": Ownlm, "llama.cpp": LlamaCpp, "transformers": Transformers,
        "openvino": OpenVino, "ctranslate2": CTranslate2,
    }  # fmt: skip
    return makers[package](SHAPES[shape], kind, folder, threads, clock)


class Ownlm:
    def __init__(self, s: Shape, kind: str, folder: Path, threads: int, clock: Any) -> None:
        import torch

        from ownlm.inference.native_runner import NativeRunner, usable
        from ownlm.models.config import ModelConfig
        from ownlm.models.load import build_model

        torch.set_num_threads(threads)
        self.clock = clock
        more = {"bias": True} if s.kind == "gpt2" else {"head_dim": s.head_dim}
        config = ModelConfig(
            family=s.kind, layers=s.layers, dim=s.dim, heads=s.heads, hidden=s.hidden,
            kv_heads=s.kv_heads if s.kind != "gpt2" else 0, vocab=s.vocab, context=s.context,
            tied=True, **more,
        )  # fmt: skip
        model = build_model(config, seed=0).eval().bfloat16()
        assert not usable(model), usable(model)
        self.runner = NativeRunner(model, kind)  # type: ignore[arg-type]
        self.blocks, self.position = s.context // 16, 0
        self.runner.reserve(32 * self.blocks, 16)
        self.texts: list[list[int]] = []

    @property
    def weight_bytes(self) -> int:
        return self.runner.weight_bytes

    def begin(self, texts: int, tokens: int) -> None:
        self.texts = [list(range(n * self.blocks, (n + 1) * self.blocks)) for n in range(texts)]
        self.position = 0
        self._read(tokens)

    def step(self) -> None:
        self._read(1)

    def _read(self, count: int) -> None:
        from ownlm.inference.runner import Work

        ids = [1 + n for n in range(count)]
        self.runner.read([Work(ids, self.position, blocks) for blocks in self.texts])
        self.position += count

    def stream(self) -> float:
        """Bytes a second at which all threads together read as much as the weights, once."""
        import torch

        data = self.runner._parts.packer._memory._bytes
        threads = torch.get_num_threads()
        begin = self.clock()
        self.runner._library.ownlm_decode_stream(
            ctypes.c_void_p(data.data_ptr()),
            ctypes.c_int64(self.weight_bytes),
            ctypes.c_int64(threads),
        )
        return self.weight_bytes / (self.clock() - begin)


class LlamaCpp:
    def __init__(self, s: Shape, kind: str, folder: Path, threads: int, clock: Any) -> None:
        import llama_cpp as c

        self.c, self.position, self.texts = c, 0, 1
        ignore = c.llama_log_callback(lambda *_: None)
        self._ignore = ignore
        c.llama_log_set(ignore, None)
        c.llama_backend_init()
        file = quantised(s, kind, folder)
        self.model = c.llama_load_model_from_file(
            str(file).encode(), c.llama_model_default_params()
        )
        params = c.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = 32 * 256, 1024, 512
        params.n_seq_max, params.n_threads, params.n_threads_batch = 32, threads, threads
        params.kv_unified = True
        self.context = c.llama_new_context_with_model(self.model, params)
        assert self.context, "llama.cpp made no context"
        self.batch = c.llama_batch_init(1024, 0, 1)

    def begin(self, texts: int, tokens: int) -> None:
        self.c.llama_memory_clear(self.c.llama_get_memory(self.context), True)
        self.texts, self.position = texts, 0
        self._read(tokens)

    def step(self) -> None:
        self._read(1)

    def _read(self, count: int) -> None:
        b, n = self.batch, 0
        for text in range(self.texts):
            for place in range(count):
                b.token[n], b.pos[n], b.n_seq_id[n] = 1 + place, self.position + place, 1
                b.seq_id[n][0], b.logits[n] = text, place == count - 1
                n += 1
        b.n_tokens = n
        assert self.c.llama_decode(self.context, b) == 0
        self.c.llama_get_logits(self.context)
        self.position += count


# ---- GGUF ---------------------------------------------------------------------------------------

FILE_TYPES = {"bf16": 32, "q8_0": 7, "q4_0": 2}


def quantised(s: Shape, kind: str, folder: Path) -> Path:
    """The file of one kind; made from the F16 one by llama.cpp's own tool, and kept."""
    name = f"{s.kind}-{s.layers}x{s.dim}"
    whole, file = folder / f"{name}-f16.gguf", folder / f"{name}-{kind}.gguf"
    if not whole.exists():
        write_gguf(s, whole)
    if not file.exists():
        import llama_cpp as c

        params = c.llama_model_quantize_default_params()
        params.ftype, params.nthread, params.pure = FILE_TYPES[kind], 2, True
        assert c.llama_model_quantize(str(whole).encode(), str(file).encode(), params) == 0
    return file


def write_gguf(s: Shape, file: Path) -> None:
    """A model of random weights in F16; norms and biases in F32."""
    from gguf import GGUFWriter

    w = GGUFWriter(str(file), s.kind)
    w.add_context_length(s.context)
    w.add_embedding_length(s.dim)
    w.add_block_count(s.layers)
    w.add_feed_forward_length(s.hidden)
    w.add_head_count(s.heads)
    w.add_head_count_kv(s.kv_heads)
    w.add_vocab_size(s.vocab)
    w.add_file_type(1)
    w.add_tokenizer_model("none")
    rng = np.random.default_rng(0)
    if s.kind == "gpt2":
        w.add_layer_norm_eps(1e-5)
    else:
        w.add_layer_norm_rms_eps(1e-5)
        w.add_rope_dimension_count(s.head_dim)
    for name, shape in tensors(s).items():
        norm = name.endswith("norm.weight")
        values = np.ones(shape) if norm else rng.standard_normal(shape, np.float32) * 0.02
        w.add_tensor(name, values.astype(np.float16 if len(shape) == 2 else np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def tensors(s: Shape) -> dict[str, tuple[int, ...]]:
    """Names and shapes (outputs, inputs) as llama.cpp expects them."""
    d, q, kv = s.dim, s.heads * s.head_dim, s.kv_heads * s.head_dim
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (s.vocab, d)}
    if s.kind == "gpt2":
        parts = {"attn_qkv": (3 * d, d), "attn_output": (d, d), "ffn_up": (s.hidden, d)}
        parts |= {"ffn_down": (d, s.hidden)}
        found["position_embd.weight"] = (s.context, d)
    else:
        parts = {"attn_q": (q, d), "attn_k": (kv, d), "attn_v": (kv, d), "attn_output": (d, q)}
        parts |= {"ffn_gate": (s.hidden, d), "ffn_up": (s.hidden, d), "ffn_down": (d, s.hidden)}
    biased = {"gpt2": [*parts], "qwen2": ["attn_q", "attn_k", "attn_v"]}.get(s.kind, [])
    for layer in range(s.layers):
        for name, shape in parts.items():
            found[f"blk.{layer}.{name}.weight"] = shape
            if name in biased:
                found[f"blk.{layer}.{name}.bias"] = shape[:1]
        for norm in ("attn_norm", "ffn_norm"):
            found[f"blk.{layer}.{norm}.weight"] = (d,)
            if s.kind == "gpt2":
                found[f"blk.{layer}.{norm}.bias"] = (d,)
    found["output_norm.weight"] = (d,)
    if s.kind == "gpt2":
        found["output_norm.bias"] = (d,)
    return found
