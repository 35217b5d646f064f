"""From a name to a task: which head it stands on, and what its options do."""

import pytest
from examples import bpe, wordpiece
from task_cases import LABELS, TAGS, config_of, made

from ownlm.errors import CheckpointError, ConfigError
from ownlm.models.families import FAMILIES, family_named
from ownlm.objectives.tasks.classify import Classify, Regress
from ownlm.objectives.tasks.config import TaskOptions
from ownlm.objectives.tasks.make import MAKERS, head_of, make_task
from ownlm.objectives.tasks.span import Span
from ownlm.objectives.tasks.tag import Tag

HEADS = {
    "classify": "ForSequenceClassification",
    "pair": "ForSequenceClassification",
    "regress": "ForSequenceClassification",
    "tag": "ForTokenClassification",
    "span": "ForQuestionAnswering",
}


def test_the_head_and_the_labels_of_each() -> None:
    kinds = {"classify": Classify, "pair": Classify, "regress": Regress, "tag": Tag, "span": Span}
    for kind, head in HEADS.items():
        task, _ = made("bert", kind)
        assert task.head == head and type(task) is kinds[kind]
    assert made("bert", "classify")[0].labels == LABELS
    assert made("bert", "tag")[0].labels == TAGS
    assert made("bert", "regress")[0].labels == ("score",)
    assert head_of("span", family_named("xlnet")) == "ForQuestionAnsweringSimple"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_without_the_head_says_so(family: str) -> None:
    """Whatever head config.json names: the pretrained one, as a rule."""
    found = family_named(family)
    config = found.to_hf(found.typical)
    for kind, head in HEADS.items():
        able = any(each.startswith(head) for each in found.heads)
        if able:
            task = make_task(kind, TaskOptions(), bpe(), config, LABELS)
            assert task.head in found.heads
        else:
            with pytest.raises(ConfigError, match=f"{family} has no head for the task '{kind}'"):
                make_task(kind, TaskOptions(), bpe(), config, LABELS)


def test_the_head_that_config_json_names_does_not_matter() -> None:
    """T5's tagger has no decoder, its classifier has one."""
    family = family_named("t5")
    for head in ("ForConditionalGeneration", "ForTokenClassification"):
        config = family.to_hf(config_of("t5", head, 3))
        starts = [
            make_task(kind, TaskOptions(), bpe(), config, LABELS).start  # type: ignore[attr-defined]
            for kind in ("tag", "classify")
        ]
        assert starts == [None, config["decoder_start_token_id"]]


def test_options_are_passed_on() -> None:
    config = family_named("bert").to_hf(config_of("bert", "ForMaskedLM", 2))
    options = TaskOptions(
        longest=40, stride=3, multi_label=True, class_weights="balanced", smoothing=0.2,
        prefix="a ", every_piece=True, unanswerable=True, none_threshold=1.5, longest_answer=9,
    )  # fmt: skip
    classify, tag, span = (
        make_task(kind, options, wordpiece(), config, LABELS) for kind in ("pair", "tag", "span")
    )
    assert isinstance(classify, Classify) and classify.several and classify.weighted
    assert (classify.smoothing, classify.prefix, classify.marks.longest) == (0.2, "a ", 40)
    assert isinstance(tag, Tag) and (tag.stride, tag.every_piece, tag.smoothing) == (3, True, 0.2)
    assert isinstance(span, Span) and span.unanswerable and span.longest_answer == 9
    assert (span.stride, span.none_threshold) == (3, 1.5)


def test_what_is_unknown_is_refused() -> None:
    config = family_named("bert").to_hf(config_of("bert", "ForMaskedLM", 2))
    with pytest.raises(ConfigError, match="no task 'sort'") as caught:
        make_task("sort", TaskOptions(), wordpiece(), config)
    assert all(kind in str(caught.value.next_command) for kind in MAKERS)
    with pytest.raises(CheckpointError, match="model_type"):
        make_task("tag", TaskOptions(), wordpiece(), {"model_type": "brt"})
