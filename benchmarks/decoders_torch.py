"""Contestants of decoding.py that begin with a model of transformers: its own in bf16; OpenVINO and
CTranslate2, which convert it, both with weights of 8 bits. See decoders.py.
"""

import time
from pathlib import Path
from typing import Any

from decoders import PROMPT, Shape


def random_model(s: Shape, dtype: Any) -> Any:
    """A model of transformers with random weights."""
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen2Config

    common = {
        "hidden_size": s.dim, "num_hidden_layers": s.layers, "num_attention_heads": s.heads,
        "num_key_value_heads": s.kv_heads, "intermediate_size": s.hidden,
        "vocab_size": s.vocab, "max_position_embeddings": s.context, "tie_word_embeddings": True,
    }  # fmt: skip
    config: Any = {
        "llama": lambda: LlamaConfig(**common),
        "qwen2": lambda: Qwen2Config(**common),
        "gpt2": lambda: GPT2Config(n_embd=s.dim, n_layer=s.layers, n_head=s.heads),
    }[s.kind]()
    return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


class Transformers:
    def __init__(self, s: Shape, kind: str, folder: Path, threads: int, clock: Any) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch, self.model = torch, random_model(s, torch.bfloat16)

    def begin(self, texts: int, tokens: int) -> None:
        self.texts, self.past = texts, None
        self._read(tokens)

    def step(self) -> None:
        self._read(1)

    def _read(self, count: int) -> None:
        with self.torch.inference_mode():
            ids = self.torch.arange(1, count + 1).expand(self.texts, -1)
            out = self.model(ids, past_key_values=self.past, use_cache=True, logits_to_keep=1)
        self.past = out.past_key_values


class OpenVino:
    """Traced with its keys and values as inputs and outputs, which OpenVINO then keeps as state;
    weights of 8 bits by NNCF, one scale a row."""

    def __init__(self, s: Shape, kind: str, folder: Path, threads: int, clock: Any) -> None:
        import openvino as ov

        file = folder / f"openvino-{s.kind}-{s.layers}x{s.dim}-{kind}.xml"
        if not file.exists():
            ov.save_model(converted(s), file)
        core = ov.Core()
        options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        self.request = core.compile_model(file, "CPU", options).create_infer_request()

    def begin(self, texts: int, tokens: int) -> None:
        self.request.reset_state()
        self.texts, self.position = texts, 0
        self._read(tokens)

    def step(self) -> None:
        self._read(1)

    def _read(self, count: int) -> None:
        import numpy as np

        ids = np.tile(np.arange(1, count + 1), (self.texts, 1))
        places = np.tile(np.arange(self.position, self.position + count), (self.texts, 1))
        self.position += count
        mask = np.ones((self.texts, self.position), np.int64)
        rows = np.arange(self.texts, dtype=np.int32)
        given = {"input_ids": ids, "attention_mask": mask, "position_ids": places}
        self.request.infer({**given, "beam_idx": rows})


def converted(s: Shape) -> Any:
    """A model of OpenVINO with state and 8-bit weights."""
    import nncf
    import openvino as ov
    import torch
    from openvino._offline_transformations import apply_make_stateful_transformation
    from transformers.cache_utils import DynamicCache, DynamicLayer

    model = random_model(s, torch.float32)

    class Step(torch.nn.Module):
        """Logits of the last token, and each layer's keys and values."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask, position_ids, beam_idx, *past):  # type: ignore[no-untyped-def]
            held = DynamicCache()
            for keys, values in zip(past[::2], past[1::2]):
                layer = DynamicLayer()
                layer.keys, layer.values = (x.index_select(0, beam_idx) for x in (keys, values))
                layer.is_initialized, layer.dtype, layer.device = True, keys.dtype, keys.device
                held.layers.append(layer)
            out = self.model(input_ids, attention_mask=attention_mask, position_ids=position_ids,
                             past_key_values=held, logits_to_keep=1)  # fmt: skip
            layers = out.past_key_values.layers
            return (out.logits, *(x for layer in layers for x in (layer.keys, layer.values)))

    ids, rows = torch.ones(2, 3, dtype=torch.long), torch.arange(2, dtype=torch.int32)
    mask, places = torch.ones(2, 8, dtype=torch.long), torch.arange(5, 8).expand(2, -1)
    past = [torch.zeros(2, s.kv_heads, 5, s.head_dim) for _ in range(2 * s.layers)]
    with torch.no_grad():
        made = ov.convert_model(Step(), example_input=(ids, mask, places, rows, *past))
    names = ["input_ids", "attention_mask", "position_ids", "beam_idx"]
    kept = {}
    for number, port in enumerate(made.inputs):
        wide = number >= len(names)
        name = f"past.{number - len(names)}" if wide else names[number]
        port.get_tensor().set_names({name})
        shape = (
            [-1, s.kv_heads, -1, s.head_dim] if wide else [-1] if name == "beam_idx" else [-1, -1]
        )
        port.get_node().set_partial_shape(ov.PartialShape(shape))
        if wide:
            kept[name] = f"now.{number - len(names)}"
    for number, port in enumerate(made.outputs):
        port.get_tensor().set_names({f"now.{number - 1}" if number else "logits"})
    made.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(made, kept)
    begin_empty(made)
    return nncf.compress_weights(made, mode=nncf.CompressWeightsMode.INT8_ASYM)


def begin_empty(made: Any) -> None:
    """States that begin with no token, in as many rows as there are texts."""
    import numpy as np
    from openvino import opset13 as ops

    ids = made.input("input_ids")
    rows = ops.gather(ops.shape_of(ids), ops.constant([0]), ops.constant(0))
    for node in made.get_ops():
        if node.get_type_name() == "ReadValue":
            sizes = [dim.min_length for dim in node.get_output_partial_shape(0)]
            parts = [rows, *(ops.constant(np.array([n], np.int64)) for n in sizes[1:])]
            nothing = ops.constant(0.0, dtype=node.get_output_element_type(0))
            node.set_arguments([ops.broadcast(nothing, ops.concat(parts, axis=0))])
    made.validate_nodes_and_infer_types()


class CTranslate2:
    """It takes no step by itself: `rate` is of whole continuations."""

    def __init__(self, s: Shape, kind: str, folder: Path, threads: int, clock: Any) -> None:
        import ctranslate2

        place = folder / f"ctranslate2-{s.kind}-{s.layers}x{s.dim}"
        if not (place / "model.bin").exists():
            convert_ctranslate2(s, place, kind)
        self.generator = ctranslate2.Generator(
            str(place), device="cpu", compute_type=kind, intra_threads=threads, inter_threads=1
        )

    def begin(self, texts: int, tokens: int) -> None:
        self._continue(texts, 1, tokens)

    def step(self) -> None:
        raise AssertionError("see rate")

    def rate(self, texts: int, seconds: float) -> float:
        """Tokens a second of all texts, without the prompts."""
        first = self._continue(texts, 2, PROMPT)
        more = min(200, max(4, int(seconds / max(first, 1e-4))))
        short, long = self._continue(texts, 1, PROMPT), self._continue(texts, 1 + more, PROMPT)
        return texts * more / (long - short)

    def _continue(self, texts: int, tokens: int, prompt: int) -> float:
        begin = time.perf_counter()
        self.generator.generate_batch(
            [[f"t{n}" for n in range(1, prompt + 1)]] * texts, max_length=tokens,
            min_length=tokens, sampling_topk=1, include_prompt_in_result=False,
        )  # fmt: skip
        return time.perf_counter() - begin


def convert_ctranslate2(s: Shape, place: Path, kind: str) -> None:
    """A folder of CTranslate2 with random weights."""
    import tempfile

    import torch
    from ctranslate2.converters import TransformersConverter

    class Words:
        bos_token = eos_token = unk_token = "t0"
        bos_token_id = eos_token_id = unk_token_id = 0

        def get_vocab(self) -> dict[str, int]:
            return {f"t{n}": n for n in range(s.vocab)}

    class Converter(TransformersConverter):  # type: ignore[misc]
        def load_tokenizer(self, *_: Any, **__: Any) -> Words:
            return Words()

    with tempfile.TemporaryDirectory() as scratch:
        random_model(s, torch.float32).save_pretrained(scratch)
        Converter(scratch).convert(str(place), quantization=kind, force=True)
