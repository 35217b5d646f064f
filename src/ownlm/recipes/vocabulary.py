"""A tokenizer on its own, exactly the one that preparing the same text would learn."""

from ownlm.data.config import DataConfig
from ownlm.data.prepare import learn_tokenizer, survey
from ownlm.recipes.stages import Tell
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.tokenizer import Tokenizer


def learn_vocabulary(data: DataConfig, config: TokenizerConfig, tell: Tell) -> Tokenizer:
    """Train on the text that `data` names, less what it keeps for validation."""
    corpus, split = survey(data, tell)
    return learn_tokenizer(corpus, split, config, tell)
