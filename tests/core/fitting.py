"""Pieces of prompts for the tests of fitting: prose in several languages, and what must survive inside it."""

from hypothesis import strategies as st

PROSE = (
    "The keeper walks to the lighthouse before the fog comes in. ",
    "Nobody at the harbour asked why the ferry was late again. ",
    "Der Müller öffnet das Tor erst nach dem Frühstück. ",
    "Лодочник чинит старую сеть у причала. ",
    "老渔夫每天清晨都去码头。",
    "नाविक हर सुबह घाट पर आता है। ",
    "هل عاد الصياد إلى الميناء؟ ",
    "¿Quién dejó abierta la puerta del molino? ",
    "wrapped lines go on in the next one without any stop in sight\nuntil a sentence is over. ",
)

LASTING = (
    "```python\nfor n in (41, 42):\n    print('n is  {n}.  Next!')\n```\n",
    "~~~\n# a fence.  With   spaces \n~~~\n",
    '{"tides": [{"at": "06:41", "level": 2.7}, {"note": "low.  Very low."}]}\n',
    '{\n  "id": 7103,\n\n\n  "open": true\n}\n',
)
"""Code and JSON: stay whatever happens."""

WHOLE = (
    '"We sail at dawn. Bring rope"',
    "“Kein Boot. Kein Netz”",
    "«Он ушёл. Навсегда»",
    "「船は出た。もう遅い。」",
    "`fetch(tide).  Then stop`",
    "https://tides.example/a?b=1.5&c=x.Y",
    "1 000 000",
    "3.141",
    "12 500,75",
    "2031-04-05T06:07:08Z",
)
"""Quoted text, inline code, numbers, URLs: never changed, never cut."""

SPACES = st.sampled_from(["", " ", "  ", "\n", "\n\n", "\n\n\n\n", " \n", "\t\n"])

pieces = st.one_of(
    st.sampled_from(PROSE),
    st.sampled_from(LASTING).map(lambda block: f"\n\n{block}\n"),
    st.sampled_from(WHOLE).map(lambda span: f"He wrote {span} on the wall. "),
)

documents = st.lists(st.tuples(pieces, SPACES), min_size=1, max_size=30).map(
    lambda parts: "".join(piece + space for piece, space in parts)
)

anything = st.one_of(documents, st.text(max_size=400), st.lists(st.sampled_from("a.`\"'“”{}[]:, \n>~1")).map("".join))
"""Documents, any text at all, and texts of nothing but signs."""
