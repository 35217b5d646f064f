"""A tokenizer on its own, exactly the one that preparing the same text would learn."""

from collections import defaultdict

from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus
from ownlm.data.prepare import learn_tokenizer, survey
from ownlm.data.report import identify_languages
from ownlm.recipes.stages import Tell
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.report import TokenizerReport, report
from ownlm.tokenization.tokenizer import Tokenizer
from ownlm.tokenization.train import settled


def learn_vocabulary(
    data: DataConfig, config: TokenizerConfig, tell: Tell
) -> tuple[Tokenizer, TokenizerReport]:
    """Train on the text that `data` names, less what it keeps for validation; measured on a
    sample of all of it, language by language."""
    settled(config)
    corpus, split = survey(data, tell)
    tokenizer = learn_tokenizer([(corpus, split)], config, tell)
    return tokenizer, report(tokenizer, sample_by_language(corpus))


def sample_by_language(corpus: Corpus) -> dict[str, str]:
    """The texts that the scan of a corpus kept, joined language by language."""
    texts: dict[str, list[str]] = defaultdict(list)
    for _, text in sorted(corpus.report.sample):
        (language,) = identify_languages([text])
        texts[language].append(text)
    by_share = [name for name in corpus.report.languages if name in texts]
    return {name: "\n".join(texts[name]) for name in by_share}
