"""ownlm: build, train and serve your own language model.

>>> import ownlm
>>> lm = ownlm.load("run")
>>> lm.generate("Once upon a time")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ownlm.inference.language_model import LM as LM
    from ownlm.inference.language_model import load as load

__version__ = "0.1.0"
__all__ = ["LM", "__version__", "load"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    # Lazy: `import ownlm` (and every `ownlm --help`) must not pay for torch.
    if name not in ("LM", "load"):
        raise AttributeError(f"module 'ownlm' has no attribute {name!r}")
    from ownlm.inference import language_model

    return getattr(language_model, name)
