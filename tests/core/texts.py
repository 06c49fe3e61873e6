"""Sample texts, written for these tests: ordinary ones by kind, and strange ones that a bound must survive."""

import base64
import random
import string

ORDINARY = {
    "english": (
        "The library opens at nine on weekdays and at ten on Saturdays. Members may borrow up to twelve books "
        "for four weeks, and renew them twice unless another reader is waiting. Please return what you have "
        "finished early."
    ),
    "german": (
        "Die Bibliothek öffnet werktags um neun Uhr und samstags um zehn. Mitglieder können bis zu zwölf "
        "Bücher für vier Wochen ausleihen und zweimal verlängern, sofern niemand darauf wartet. "
        "Geschwindigkeitsbeschränkungen gelten nicht."
    ),
    "french": (
        "La bibliothèque ouvre à neuf heures en semaine et à dix heures le samedi. Les membres peuvent "
        "emprunter jusqu’à douze livres pendant quatre semaines et les renouveler deux fois, à moins qu’un "
        "autre lecteur ne les attende déjà."
    ),
    "spanish": (
        "La biblioteca abre a las nueve entre semana y a las diez los sábados. Los socios pueden llevarse "
        "hasta doce libros durante cuatro semanas y renovarlos dos veces, salvo que otra persona los esté "
        "esperando. ¿Algo más, señor?"
    ),
    "polish": (
        "Biblioteka jest otwarta w dni powszednie od dziewiątej, a w soboty od dziesiątej. Czytelnicy mogą "
        "wypożyczyć do dwunastu książek na cztery tygodnie i dwukrotnie przedłużyć termin, chyba że ktoś inny "
        "już na nie czeka w kolejce."
    ),
    "turkish": (
        "Kütüphane hafta içi saat dokuzda, cumartesi günleri onda açılır. Üyeler en fazla on iki kitabı dört "
        "haftalığına ödünç alabilir ve başka bir okuyucu beklemiyorsa süreyi iki kez uzatabilirler. Lütfen "
        "kitapları erken getiriniz."
    ),
    "vietnamese": (
        "Thư viện mở cửa lúc chín giờ vào ngày thường và mười giờ vào thứ bảy. Bạn đọc được mượn tối đa mười "
        "hai quyển sách trong bốn tuần và gia hạn hai lần, trừ khi có người khác đang chờ. Xin vui lòng trả "
        "sách đúng hạn."
    ),
    "russian": (
        "Библиотека открывается в будни в девять часов, а по субботам в десять. Читатели могут взять до "
        "двенадцати книг на четыре недели и дважды продлить срок, если их не ждёт кто-нибудь другой. "
        "Пожалуйста, возвращайте прочитанное."
    ),
    "ukrainian": (
        "Бібліотека відчиняється в будні о дев’ятій годині, а в суботу о десятій. Читачі можуть узяти до "
        "дванадцяти книжок на чотири тижні й двічі продовжити термін, якщо на них не чекає хтось інший. "
        "Повертайте, будь ласка, вчасно."
    ),
    "chinese": (
        "图书馆平日九点开门，星期六十点开门。会员最多可以借十二本书，借期四个星期，如果没有其他读者预约，可以续"
        "借两次。请把已经读完的书尽早归还，这样别人就不用等太久。阅览室里请保持安静，不要大声说话，也不要吃东西"
        "。复印机在二楼，打印一页收费五角。如果您忘记带借书证，可以用身份证办理当天的临时手续，工作人员会帮助您"
        "找到需要的资料。周日和国家法定节日闭馆，详细的安排请看门口的通知。暑假期间开放时间可能会有调整，请提前"
        "打电话询问。"
    ),
    "japanese": (
        "図書館は平日は九時に、土曜日は十時に開きます。会員は十二冊までの本を四週間借りることができ、ほかに待っ"
        "ている人がいなければ二回まで延長できます。読み終わった本はなるべく早く返してください。閲覧室では静かに"
        "お過ごしください。コピー機は二階にあり、一枚十円で使えます。カードをお忘れの場合は、身分証明書があれば"
        "その日だけ使える仮のカードを作ります。日曜日と祝日はお休みです。詳しくは入口のお知らせをご覧ください。"
    ),
    "korean": (
        "도서관은 평일에는 아홉 시에, 토요일에는 열 시에 문을 엽니다. 회원은 책을 열두 권까지 네 주 동안 빌릴 "
        "수 있고, 기다리는 사람이 없으면 두 번까지 연장할 수 있습니다. 다 읽은 책은 되도록 빨리 돌려주시기 "
        "바랍니다. 열람실에서는 조용히 해 주시고 음식은 드시지 마세요. 복사기는 이 층에 있으며 한 장에 오십 "
        "원입니다. 일요일과 공휴일에는 쉽니다. 고맙습니다."
    ),
    "hindi": (
        "पुस्तकालय कार्यदिवसों में नौ बजे और शनिवार को दस बजे खुलता है। सदस्य चार सप्ताह के लिए बारह किताबें "
        "तक ले सकते हैं और यदि कोई दूसरा पाठक प्रतीक्षा नहीं कर रहा हो तो दो बार अवधि बढ़ा सकते हैं। कृपया "
        "पढ़ी हुई किताबें जल्दी लौटा दें ताकि दूसरों को इंतज़ार न करना पड़े।"
    ),
    "emoji": (
        "Great launch today 🚀🚀🎉 thanks everyone 🙏 the team 👩‍💻👨‍💻 worked all night ☕☕☕ and it shows "
        "✨ bugs fixed ✅✅ docs written ✅ cake ordered 🍰😋 see you at five 🕔 bring friends 🧑‍🤝‍🧑 and "
        "the dog 🐶❤️ it will be fun 😂🤣😊👍🏽 🇩🇪🇺🇸🇯🇵 #shipit 🔥💯"
    ),
    "digits": (
        "3.14159 26535 89793 2024-11-20 17:45:09 1,234,567.89 +49 30 901820 192.168.0.1 0.001 100% 42 7 "
        "1000000 65536 2147483647 18446744073709551615 12/31/1999 99.99 1e-9 555-0134 007 8080 443 1024 4096 "
        "271828182845904523536028747135"
    ),
    "python": (
        "def first(items, default=None):\n    for item in items:\n        if item is not None:\n            "
        "return item\n    return default\n\n\nclass Stack:\n    def __init__(self):\n        self._items = "
        "[]\n\n    def push(self, item):\n        self._items.append(item)\n"
    ),
    "javascript": (
        "export async function loadUsers(baseUrl, { pageSize = 50 } = {}) {\n  const response = await "
        "fetch(`${baseUrl}/users?limit=${pageSize}`);\n  if (!response.ok) throw new Error(`HTTP "
        "${response.status}`);\n  const { items } = await response.json();\n  return items.filter((user) => "
        "user.isActive && !user.deletedAt);\n}\n"
    ),
    "json": (
        '{"id": "req_7f3a", "created": 1732100000, "user": {"name": "Ada", "roles": ["admin", "editor"], '
        '"active": true}, "items": [{"sku": "A-100", "qty": 2, "price": 19.99}, {"sku": "B-220", "qty": 1, '
        '"price": 5.0}], "note": null}'
    ),
    "c": (
        "static int parse_header(const uint8_t *buf, size_t len, struct header *out)\n{\n\tif (len < "
        "sizeof(*out))\n\t\treturn -EINVAL;\n\tmemcpy(out, buf, sizeof(*out));\n\tif (out->magic != "
        'HEADER_MAGIC || out->version > 3) {\n\t\tfprintf(stderr, "bad header: %08x\\n", out->magic);\n\t\t'
        "return -1;\n\t}\n\treturn 0;\n}\n"
    ),
    "markdown": (
        "# Release notes\n\n## 2.4.0\n\n- **Faster** start: the index is read *lazily*.\n- Fixed "
        "[#123](https://example.com/issues/123).\n\n| option | default |\n|---|---|\n| `--depth` | 3 |\n| "
        "`--quiet` | off |\n\n```sh\n$ tool run --depth 5\n```\n"
    ),
}
"""At least 200 characters each (Chinese, Japanese and Korean included)."""


def letters(*ranges: tuple[int, int]) -> str:
    """All characters from the first code point up to the last, for each range."""
    return "".join(chr(point) for first, last in ranges for point in range(first, last))


ALPHABETS = (
    string.ascii_lowercase,
    string.ascii_uppercase,
    string.ascii_letters,
    string.digits,
    string.punctuation,
    string.printable,
    string.hexdigits,
    "jqxz",
    "bcdfghjklmnpqrstvwxz",
    "ACGT",
    "a1",
    "aA",
    " \n\t\r",
    "{}[]();:,.",
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    letters((0x80, 0x250)),  # accented Latin
    letters((0x900, 0x980)),  # Devanagari
    letters((0x3400, 0x3500), (0x9F00, 0x9FA0)),  # rare Han
    letters((0x12000, 0x12100)),  # cuneiform
    letters((0x1F300, 0x1F6FF)),  # emoji
    letters((0xE0000, 0xE0080)),  # tags
    "\u200d\ufe0f\u0301\u0335",
)


def strange(dice: random.Random) -> list[str]:
    """Texts that no rule of thumb expects: noise over many alphabets, encoded bytes, runs, lone surrogates."""

    def word(alphabet: str) -> str:
        return "".join(dice.choices(alphabet, k=dice.randint(1, 9)))

    noise = ["".join(dice.choices(alphabet, k=300)) for alphabet in ALPHABETS]
    words = [" ".join(word(alphabet) for _ in range(60)) for alphabet in ALPHABETS]
    runs = [character * 3_000 for character in "aA \n\t!-=é中😀\x00\ufffd"]
    scrambled = ["".join(dice.sample(text, len(text))) for text in ORDINARY.values()]
    data = dice.randbytes(300)
    encoded = [base64.b64encode(data).decode(), base64.b85encode(data).decode(), data.hex(), data.decode("latin-1")]
    odd = ["", "\ud800", "a\udfffb", "\udc00\ud800" * 50, "\ud83d\ude00", "<|endoftext|>", "<|im_start|>system"]
    return noise + words + runs + scrambled + encoded + odd
