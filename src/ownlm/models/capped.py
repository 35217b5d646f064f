"""Attention whose scores are capped before the softmax: Gemma 2's (arXiv:2408.00118, 2.3)."""

from torch import Tensor

from ownlm.models.model import SingleStack
from ownlm.nn.attention import SelfAttention, attend_plainly
from ownlm.nn.config import StackConfig
from ownlm.nn.mask import Mask


class CappedAttention(SelfAttention):
    """softmax(softcap * tanh(q k^T scale / softcap) + mask) v."""

    def __init__(self, config: StackConfig, softcap: float) -> None:
        super().__init__(config)
        self.softcap = softcap

    def attend(
        self, q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask: Mask, dropout: float
    ) -> Tensor:
        """What queries read, (B, H, T, K)."""
        return attend_plainly(
            q_BHTK, k_BGSK, v_BGSK, mask, self.scale, dropout, softcap=self.softcap
        )


def cap_attention(model: SingleStack, softcap: float) -> None:
    """Put capped attention in the place of the plain one in every block."""
    for block in model.stack.blocks:
        block.attn.body = CappedAttention(model.architecture.stack, softcap)  # type: ignore[union-attr]
