"""How many blocks an engine gets, and how long a text can become in them."""

import torch

from ownlm.errors import ConfigError
from ownlm.inference.blocks import Blocks
from ownlm.inference.config import EngineConfig
from ownlm.inference.request import Request
from ownlm.inference.runner import Runner
from ownlm.runtime import free_memory


def make_blocks(runner: Runner, config: EngineConfig, size: int, sides: int = 1) -> Blocks:
    """Blocks of `size` tokens: as many as all texts at full length need, or as memory holds.

    `sides` is 2 where a text has a source, which may be as long. ConfigError where memory that is
    given holds none.
    """
    wanted = config.rows * sides * -(-runner.context // size)
    free = config.memory_bytes or _free(runner.device) // 2
    held = free // (size * runner.bytes_per_token) if free else wanted
    if held < sides and config.memory_bytes:
        needed = sides * size * runner.bytes_per_token
        raise ConfigError(
            f"{config.memory_bytes:,} bytes hold no text: the smallest needs {needed:,}",
            where="memory_bytes",
        )
    return Blocks(max(sides, min(wanted, held)), size)


def room(blocks: Blocks, request: Request) -> int:
    """Tokens that a text can have when it is alone, its prompt among them; beams share the blocks
    that the prompt fills."""
    shared = len(request.prompt) // blocks.size
    left = blocks.count - blocks.needed(len(request.source)) - shared
    return (shared + left // request.beams) * blocks.size


def _free(device: torch.device) -> int:
    """Bytes that can be had on a device; 0 where it does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory() if device.type == "cpu" else 0
