"""Names that columns and fields are known by, in lower case: how their roles are recognised."""

TEXTS = (
    "text", "content", "document", "body", "sentence", "review", "message", "comment", "tweet",
    "utterance", "文本", "内容", "评论",
)  # fmt: skip
PAIRS = (
    ("sentence_a", "sentence_b"), ("sentence1", "sentence2"), ("sentence_1", "sentence_2"),
    ("premise", "hypothesis"), ("question1", "question2"), ("text1", "text2"),
    ("text_a", "text_b"), ("text", "pair"), ("text", "text_pair"), ("query", "passage"),
    ("query", "document"),
)  # fmt: skip
LABELS = (
    "label", "labels", "category", "class", "sentiment", "polarity", "intent", "topic",
    "entailment_judgment", "gold_label", "relation", "is_duplicate", "标签", "类别",
)  # fmt: skip
SCORES = ("score", "scores", "relatedness_score", "similarity", "rating", "stars", "评分")
SIDES = (
    ("source", "target"), ("src", "tgt"), ("input", "output"), ("dialogue", "summary"),
    ("article", "highlights"), ("article", "summary"), ("document", "summary"),
    ("text", "summary"), ("question", "answer"), ("prompt", "completion"),
    ("prompt", "response"), ("instruction", "output"), ("instruction", "response"),
)  # fmt: skip
WORDS = ("tokens", "words")
TAGS = ("tags", "ner_tags", "pos_tags", "labels")

KNOWN = {*TEXTS, *LABELS, *SCORES, *WORDS, *TAGS} | {
    name for two in (*PAIRS, *SIDES) for name in two
}
