"""A tokenizer on its own, exactly the one that preparing the same text would learn."""

from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus
from ownlm.data.prepare import training_texts
from ownlm.data.progress import Meter
from ownlm.data.split import Split
from ownlm.recipes.stages import Tell
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.tokenizer import Tokenizer
from ownlm.tokenization.train import train_tokenizer


def learn_vocabulary(data: DataConfig, config: TokenizerConfig, tell: Tell) -> Tokenizer:
    """Train on the text that `data` names, less what it keeps for validation."""
    corpus = Corpus(data.path, data)
    reading = Meter("reading", corpus.size, tell)
    report = corpus.scan(reading.at)
    reading.finish()
    split = Split.choose(data, report)
    training = Meter("training the tokenizer", report.bytes, tell)
    made = train_tokenizer(training_texts(corpus, split, config.sample_bytes, training), config)
    training.finish()
    return made
