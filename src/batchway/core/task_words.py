"""Words that name a task, in English and a little of other languages, and how strongly each speaks for it."""

from collections.abc import Mapping
from typing import Literal, get_args

Task = Literal[
    "chat", "question", "summarise", "extract", "classify", "translate", "rewrite", "code", "reason", "write", "data"
]
"""What a prompt may ask for."""

TASKS: tuple[Task, ...] = get_args(Task)

_NAMING: Mapping[tuple[Task, int], str] = {
    ("chat", 2): "hello hi hey thanks thank bye bonjour hallo hola ciao olá привет",
    ("question", 1): """
        what who whom whose when where which how why is are does do did can could would should
        was wer wie wann wo warum welche qui quoi quand où comment pourquoi quel quelle
        qué quién cuándo dónde cómo cuál que chi cosa quando dove perché come кто что где когда почему как""",
    ("question", 2): "explain describe define meaning difference tell erkläre explique explica spiega объясни",
    ("summarise", 3): """
        summarise summarize summarises summarizes summarising summarizing summary summaries tldr condense recap gist
        zusammenfassen zusammenfassung résume résumer résumé resumir resumen riassumi riassunto samenvatten""",
    ("summarise", 2): "takeaways highlights points resume",
    ("extract", 3): "extract extracts extracting extraction extrahiere extraire extrais extrae extraer estrai",
    ("extract", 2): "identify parse pull named entities mentioned list find",
    ("classify", 3): """
        classify classifies classifying classification categorise categorize categorisation categorization sentiment
        category categories klassifiziere classifie clasifica classifica""",
    ("classify", 2): "label labels spam toxic positive negative detect rate score tag assign moderate",
    ("translate", 3): """
        translate translates translated translating translation übersetze übersetzen übersetzung traduis traduire
        traduction traduce traducir traducción traduci traduzione traduza tradução переведи переведите перевод""",
    ("rewrite", 3): """
        rewrite rephrase paraphrase proofread reword polish umformulieren reformule reformuler reescribe korrigiere""",
    ("rewrite", 2): """
        edit improve shorten simplify correct grammar tone corrige corriger formal professional friendlier politer
        concise turn""",
    ("code", 3): """
        python javascript typescript java golang rust kotlin sql bash regex refactor debug traceback compiler css html
        div kubernetes docker dockerfile numpy pandas django react git""",
    ("code", 2): """
        code coding function script bug implement compile exception api algorithm method unittest program def class
        import return compile server test tests""",
    ("reason", 3): """
        prove proof solve theorem equation puzzle riddle derive derivative deduce probability integral beweise démontre
        resuelve résous докажи реши""",
    ("reason", 2): """
        calculate compute logic reason reasoning step compare evaluate weigh estimate if percent berechne calcule
        calcula""",
    ("write", 3): "essay poem story haiku blog speech slogan novel lyrics limerick joke",
    ("write", 2): """
        draft compose article email letter tweet headline write schreibe schreib écris rédige escribe scrivi escreva
        напиши brainstorm plan suggest invent ideas create names""",
    ("data", 3): "csv spreadsheet dataset jsonl parquet xlsx",
    ("data", 2): "json xml yaml table rows columns convert merge deduplicate normalise normalize schema records",
}

SAYS: Mapping[str, tuple[Task, int]] = {word: says for says, words in _NAMING.items() for word in words.split()}
"""Each word's task, and how strongly it names it: 1 to 3."""

FRAGMENTS: Mapping[str, tuple[Task, int]] = {
    "翻译": ("translate", 3),
    "翻譯": ("translate", 3),
    "翻訳": ("translate", 3),
    "번역": ("translate", 3),
    "แปล": ("translate", 3),
    "总结": ("summarise", 3),
    "摘要": ("summarise", 3),
    "要約": ("summarise", 3),
    "요약": ("summarise", 3),
    "分类": ("classify", 3),
    "分類": ("classify", 3),
    "提取": ("extract", 3),
    "抽出": ("extract", 3),
    "证明": ("reason", 3),
    "証明": ("reason", 3),
    "代码": ("code", 3),
    "コード": ("code", 3),
}
"""The same for scripts that do not part their words: looked for anywhere in a text."""
