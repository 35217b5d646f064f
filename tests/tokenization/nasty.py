"""Texts that tokenizers stumble over."""

from hypothesis import strategies as st

LETTERS = "a" * 100_000
NASTY = {
    "empty": "",
    "a space": " ",
    "spaces": "   leading, trailing   ",
    "runs of spaces": "a  b   c    d" + " " * 70 + "e",
    "newlines": "one\ntwo\r\nthree\n\n\nfour\r\r\n \n five\n",
    "other spaces": "a\u00a0b\u2003c\u3000d\u200be\u2028f\u2029g\u0085h\u1680i\ufeffj",
    "tabs": "\tdef f(x):\n\t\treturn {'k': [x, 42]}  # note\n",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f\xad",
    "zero": "a\x00b",
    "emoji": "😀👩🏽‍🚀👨‍👩‍👧‍👦🏳️‍🌈🇩🇪☕️1️⃣ ok 😀😀",
    "chinese": "話說天下大勢，分久必合。我是学生！２０２６年１１月",
    "japanese": "こんにちは、ｶﾞﾝﾀﾞﾑ が か\u3099 プロ ﾌﾟﾛ",
    "korean": "한국어 \u1112\u1161\u11ab\u1100\u116e\u11a8",
    "rtl": "שָׁלוֹם עולם \u200fالعربية\u200e مُحَمَّد",
    "indic": "हिन्दी भाषा क\u093c தமிழ் ไทยสวัสดี",
    "marks": "cafe\u0301 e\u0323\u0302 Z\u0351\u036b\u0343 \u0301lone A\u030a ½\u0301",
    "compatible": "ﬁﬂ ①② ㍿ ™ Ⅷ ½ ＡＢＣ ～ … “q” ‘q’ ℌ ª",
    "capitals": "HELLO World ISTANBUL İstanbul STRASSE ß ẞ ΣΑΣ ﬀ It'S I'LL 'ſ",
    "numbers": "1234567 3.14 1,997, ٣٤ ⅷ 1st",
    "punctuation": "!!!??...--==//\\\\~~``''\"\"@@ ##ing </w> ▁a Ġb <0x41> <0xFF>",
    "look-alikes": "</s><s><unk><pad>[CLS][SEP][MASK] <|endoftext|> <extra_id_0> <|im_start|>",
    "code": "for (int i=0;i<n;++i){a[i]+=b[i]*2;}//x\nx = y**2 if z else None",
    "apostrophes": "don't we'll they've I'd it's 'tis o''clock",
    "mixed": "naïve Füße Привет мир Ελληνικά đặc biệt İğüşçö",
    "unassigned": "\u0378\u0379 \ue000\uf8ff \U000f0000",
    "one letter": LETTERS,
    "one character": "我" * 20_000,
    "long word": "abcdefghij" * 3_000,
}
"""By what is nasty about them."""

UNICODE = st.text(st.characters(exclude_categories=["Cs", "Cn", "Co"]), max_size=60)
"""Any characters that Unicode has assigned."""
MIXED = st.lists(
    st.one_of(
        st.sampled_from([t for t in NASTY.values() if len(t) < 200]),
        st.sampled_from(list("aeiouy nst.,!?'12 ▁\n\té́한中😀")),
        st.text(max_size=4),
    ),
    max_size=12,
).map("".join)
"""Nasty pieces glued together."""
