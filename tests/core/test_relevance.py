"""Which sentences are worth most: those that the question is about, in any language."""

import pytest

from batchway.core.relevance import BESIDE, score, stems

CASES = {
    "english": ("When was the ferry repaired?", "They were repairing the ferries all summer."),
    "german": ("Wer hat die Fähren repariert?", "Im Sommer wurde die Fähre gründlich repariert."),
    "russian": ("Когда чинили паромы?", "Летом на пароме чинили двигатель."),
    "spanish": ("¿Quién reparó los barcos?", "Los astilleros reparan cada barco en verano."),
    "chinese": ("渡轮什么时候修理？", "夏天他们一直在修理渡轮。"),
    "hindi": ("नाव की मरम्मत किसने की?", "गर्मियों में नावों की मरम्मत हुई।"),
    "korean": ("연락선은 언제 수리했나요?", "여름 내내 연락선을 수리하고 있었다."),
}
OTHERS = {
    "english": ["Bread is sold at the corner.", "Nobody liked the new lamp.", "Two cats slept on the wall."],
    "german": ["Brot gibt es an der Ecke.", "Niemand mochte den Hut.", "Zwei Katzen schliefen dort."],
    "russian": ["Хлеб продают на углу.", "Никому не нравилась лампа.", "Две кошки спали на стене."],
    "spanish": ["El pan se vende en la esquina.", "A nadie le gustó.", "Dos gatos dormían allí."],
    "chinese": ["街角有人卖面包。", "没有人喜欢新灯。", "两只猫睡在墙上。"],
    "hindi": ["रोटी कोने पर बिकती है।", "किसी को दीपक पसंद नहीं आया।", "दो बिल्लियाँ सोती थीं।"],
    "korean": ["빵은 모퉁이에서 판다.", "아무도 등불을 좋아하지 않았다.", "고양이 두 마리가 잤다."],
}


def best(sentences: list[str], question: str, places: list[float] | None = None) -> str:
    worth = score(sentences, question, places or [0.5] * len(sentences))
    return sentences[worth.index(max(worth))]


@pytest.mark.parametrize("language", CASES)
def test_the_sentence_that_is_asked_about_is_worth_most(language: str) -> None:
    question, answer = CASES[language]
    assert best([*OTHERS[language], answer, *OTHERS[language]], question) == answer


def test_common_words_weigh_little() -> None:
    sentences = ["The mill is by the river.", "The river is by the road.", "The road is by the sea.", "Ottilie left."]
    assert best(sentences, "Is the one by the name of Ottilie here?") == "Ottilie left."


def test_what_stands_beside_the_answer_is_worth_more() -> None:
    sentences = ["Rain fell then.", "Milk was dear.", "The organist retired.", "He kept goats.", "Snow fell then."]
    worth = score(sentences, "What did the organist do?", [0.5] * 5)
    assert worth[3] - worth[4] == pytest.approx(BESIDE, abs=0.15)
    assert worth[1] > worth[0]


@pytest.mark.parametrize("definite", ["they met in 1931 again", 'they said "come" again', "they met Bertha again"])
def test_without_a_question_something_definite_is_worth_more(definite: str) -> None:
    vague = "they met there again"
    assert best([vague, definite, vague], "") == definite


def test_among_equals_the_better_place_wins() -> None:
    assert score(["same words"] * 2, "", [0.0, 1.0])[1] > score(["same words"] * 2, "", [0.0, 1.0])[0]


def test_rare_words_are_worth_more() -> None:
    assert best(["bread and milk"] * 3 + ["bread and saltpetre"] + ["bread and milk"] * 3, "") == "bread and saltpetre"


def test_nothing_to_score() -> None:
    assert score([], "question", []) == []
    assert score(["", "…"], "", [0.5, 0.5])[0] == score(["", "…"], "", [0.5, 0.5])[1]


def test_stems_see_through_endings_keep_vowel_signs_and_pair_unspaced_scripts() -> None:
    assert stems("Repaired, repairing: REPAIRS!") == {"repai"}
    assert stems("नावों की") == {"नावों", "की"}
    assert stems("修理渡轮") == {"修理", "理渡", "渡轮"}
    assert stems("Grüße 2031") == {"grüße", "2031"}
    assert stems("see snake_case") == {"see", "snake", "case"}
