"""Every word of the pages, in English and Chinese."""

LANGUAGES = {"en": "English", "zh": "中文"}

WORDS = {
    # around the pages
    "skip": ("Skip to the content", "跳到正文"),
    "chat": ("Chat", "对话"),
    "complete": ("Complete", "续写"),
    "compare": ("Compare", "对比"),
    "tasks": ("Task", "任务"),
    "inside": ("Inside", "内部"),
    "runs": ("Runs", "训练"),
    "pages": ("Pages", "页面"),
    "model": ("Model", "模型"),
    "language": ("中文", "English"),
    "dark": ("Dark or light", "深色或浅色"),
    "settings": ("Settings", "设置"),
    "close": ("Close", "关闭"),
    "loading": ("The models are being loaded …", "正在加载模型……"),
    "nothing": (
        "No model here can do this. Start the server with one that can.",
        "这里没有模型能做这件事。请用合适的模型启动服务。",
    ),
    "fault": (
        "A fault of ours: {error}. The server's terminal says more.",
        "程序出错：{error}。详情见服务终端。",
    ),
    "offline": ("Everything stays on this machine.", "一切都留在本机。"),
    # settings
    "system": ("System prompt", "系统提示"),
    "temperature": ("Temperature", "温度"),
    "top_p": ("Top-p", "Top-p"),
    "top_k": ("Top-k (0: all)", "Top-k（0：全部）"),
    "min_p": ("Min-p", "Min-p"),
    "repetition_penalty": ("Repetition penalty (1: none)", "重复惩罚（1：无）"),
    "presence_penalty": ("Presence penalty", "出现惩罚"),
    "frequency_penalty": ("Frequency penalty", "频率惩罚"),
    "seed": ("Seed (empty: new each time)", "随机种子（空：每次不同）"),
    "max_tokens": ("Tokens at most", "最多 token 数"),
    "stop_strings": ("Stop strings, one a line", "停止字符串，每行一个"),
    # chat
    "you": ("You", "你"),
    "say": ("Say something …", "说点什么……"),
    "hello": ("What shall we talk about?", "聊点什么？"),
    "enter": (
        "Enter sends, Shift+Enter begins a new line",
        "Enter 发送，Shift+Enter 换行",
    ),
    "send": ("Send", "发送"),
    "stop": ("Stop", "停止"),
    "again": ("Another answer", "换个回答"),
    "edit": ("Edit", "编辑"),
    "save": ("Save", "保存"),
    "cancel": ("Cancel", "取消"),
    "branch": ("New branch from here", "从这里另开分支"),
    "earlier": ("Earlier version", "上一个版本"),
    "later": ("Later version", "下一个版本"),
    "prompt": ("What the model reads", "模型读到的内容"),
    "prompt_note": (
        "{count} tokens, of at most {context}. Control tokens are coloured.",
        "{count} 个 token，最多 {context} 个。控制符有颜色。",
    ),
    "download": ("Save the chat", "保存对话"),
    "upload": ("Open a chat", "打开对话"),
    "new": ("New chat", "新对话"),
    "speed": ("{tokens} tokens · {rate:.0f} tokens/s · first after {first:.0f} ms",
              "{tokens} 个 token · {rate:.0f} token/s · 首个 {first:.0f} 毫秒"),
    "cut": ("cut at the limit", "到达上限"),
    "cancelled": ("stopped", "已停止"),
    # complete
    "text": ("Text", "文本"),
    "begin": ("The beginning of a text …", "一段文字的开头……"),
    "source": ("A text to answer, translate or shorten …", "要回答、翻译或概括的文字……"),
    "go_on": ("Go on", "继续"),
    "token_help": (
        "Point at a token for its probability; choose one for what else could stand there.",
        "指向一个 token 可看概率；点选可看其他可能。",
    ),
    "alternatives": ("What could stand here", "这里可能出现的 token"),
    "alternatives_help": (
        "Choose one, and the text goes on from there.",
        "选一个，文本就从那里续写。",
    ),
    "unlikely": ("surprising", "意外"),
    "likely": ("expected", "意料之中"),
    "rank": ("rank {rank}", "第 {rank} 位"),
    # side by side
    "left": ("Left", "左"),
    "right": ("Right", "右"),
    "ask_both": ("Ask both", "同时提问"),
    # tasks
    "classify": ("Classify", "分类"),
    "pair": ("Classify a pair", "句对分类"),
    "regress": ("Score", "打分"),
    "tag": ("Tag words", "词语标注"),
    "span": ("Answer from a text", "从文中找答案"),
    "seq2seq": ("Translate or summarise", "翻译或概括"),
    "embed": ("Compare meanings", "比较含义"),
    "fill": ("Fill gaps", "填空"),
    "gaps": ("Text with gaps", "带空缺的文本"),
    "gaps_example": ("The boat came into the [MASK].", "小船驶进了[MASK]。"),
    "gaps_help": ("Write [MASK] where a word is missing.", "在缺词处写 [MASK]。"),
    "gap": ("Gap {number}", "第 {number} 个空"),
    "second": ("Second text", "第二段文本"),
    "question": ("Question", "问题"),
    "context": ("Text that holds the answer", "含有答案的文本"),
    "lines": ("Texts, one a line", "文本，每行一段"),
    "do": ("Go", "开始"),
    "result": ("Result", "结果"),
    "no_answer": ("The text holds no answer.", "文中没有答案。"),
    "no_tags": ("No word has a tag.", "没有词被标注。"),
    "several": ("At least two texts are needed.", "至少需要两段文本。"),
    "nearest": ("Most alike", "最相近"),
    # look inside
    "attention": ("Attention", "注意力"),
    "lens": ("Logit lens", "Logit lens"),
    "probabilities": ("Token probabilities", "token 概率"),
    "second_hint": ("Second text (may be empty)", "第二段文本（可空）"),
    "written": ("What is written (empty: the model writes)", "写出的文本（空：由模型写）"),
    "as_chat": ("As a message to the assistant", "作为发给助手的消息"),
    "look": ("Look", "查看"),
    "self": ("Attention to itself", "自注意力"),
    "encoder": ("Encoder", "编码器"),
    "decoder": ("Decoder", "解码器"),
    "cross": ("Decoder to encoder", "解码器看编码器"),
    "kind": ("Kind", "种类"),
    "heads": ("All heads", "全部注意力头"),
    "heads_help": (
        "A row a layer, a column a head; each picture has reading tokens from top to bottom "
        "and read ones from left to right. Choose one to look closer.",
        "每行一层，每列一个头；小图中从上到下是在读的 token，从左到右是被读的 token。点选可放大。",
    ),
    "head": ("Layer {layer}, head {head}", "第 {layer} 层，第 {head} 个头"),
    "reads": ("What “{token}” reads", "“{token}” 读了什么"),
    "reads_help": ("Choose a token to see what it reads.", "点选一个 token 看它读了什么。"),
    "reading": ("token that reads", "在读的 token"),
    "read": ("token that is read", "被读的 token"),
    "lens_help": (
        "What the model would say if it stopped after each layer, the last layer on top. "
        "Darker is surer; point at a cell for its first five.",
        "如果模型在某层之后停下会说什么，最上面是最后一层。颜色越深越确定；指向格子可看前五个。",
    ),
    "layer": ("layer {layer}", "第 {layer} 层"),
    "before": ("before the layers", "各层之前"),
    "after_token": ("after", "之后"),
    "at_token": ("at", "位置"),
    # runs
    "run": ("Run", "训练"),
    "no_runs": ("No run is here yet: {folder}", "这里还没有训练：{folder}"),
    "step": ("Step", "步"),
    "figure": ("Figure", "指标"),
    "axis": ("Over", "横轴"),
    "by_step": ("steps", "步数"),
    "by_tokens": ("tokens", "token 数"),
    "by_time": ("seconds", "秒"),
    "log_x": ("Log x", "横轴对数"),
    "log_y": ("Log y", "纵轴对数"),
    "smooth": ("smoothed", "平滑"),
    "raw": ("raw", "原始"),
    "resumed": ("resumed", "继续训练"),
    "differences": ("What differs between these runs", "这些训练有何不同"),
    "same": ("These runs have the same configuration.", "这些训练的配置相同。"),
    "samples": ("What the models write", "模型写了什么"),
    "sample_at": ("at step {step}", "第 {step} 步"),
    "live": ("updates by itself", "自动更新"),
    "find": ("Find", "查找"),
    "choose_runs": ("Choose runs to see their curves.", "选择训练以查看曲线。"),
    "newest": ("newest", "最新"),
    "setting": ("Setting", "配置项"),
}  # fmt: skip


class Words:
    """The words of one language."""

    def __init__(self, language: str) -> None:
        """An unknown language is English."""
        self.language = language if language in LANGUAGES else "en"
        self._place = [*LANGUAGES].index(self.language)

    def __call__(self, key: str, **values: object) -> str:
        """The words for `key`, with values where it has places for them."""
        said = WORDS[key][self._place]
        return said.format(**values) if values else said


def language_of(cookie: str | None, accepted: str) -> str:
    """What was chosen, else what the browser would rather read.

    >>> language_of(None, "zh-CN,zh;q=0.9,en;q=0.8"), language_of("en", "zh"), language_of("?", "")
    ('zh', 'en', 'en')
    """
    if cookie in LANGUAGES:
        return str(cookie)
    return "zh" if accepted.strip().lower().startswith("zh") else "en"
