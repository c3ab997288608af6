"""The texts of a card: an invented person, company and place, all from a seed.

A personal name is a common family name with a common given name. People with this name exist, but
no other text of the card belongs to them:

* The name of a Japanese company is an invented word, a sign (○ △ □ ◇) and a trade. The commercial
  register allows no such sign in a name (Commercial Registration Rules, article 50, and the notice
  of the Minister of Justice of 31 July 2002). Therefore no registered company has this name.
* A Latin company name is an invented word and "Sample", "Specimen", "Example" or "Dummy". No
  register forbids such a name.
* Japanese addresses lie in invented prefectures, American ones in invented states. No state,
  territory or Canadian province has the two-letter codes used here.
* Japanese postal codes start with 000; Japan Post's list starts at 001-0000. American ones are
  below 00500; the lowest ZIP code is 00501.
* Mail and web addresses use domains that are reserved for documentation: example.com/.net/.org and
  the top-level domain `.example` (RFC 2606), example.jp and example.co.jp (reserved by JPRS).
* US telephone numbers are 555-0100 to 555-0199, which are reserved for fiction in every area code.
* Japan reserves no such range. Its local numbers start with 2 to 9 (Ministry of Internal Affairs
  and Communications, questions and answers on telephone numbers), and no 0 follows 090 in its
  numbering plan. All numbers here have 00 at that place.

No tables of another library are used, so the texts depend only on the seed.
"""

from __future__ import annotations

import random

from tf_sg2.cards import words

# Trades with their reading, which the mail domain and the Latin name use.
_JA_TRADES = {
    "水産": "Suisan", "農林": "Norin", "鉱業": "Kogyo", "建設": "Kensetsu", "食品": "Shokuhin",
    "印刷": "Insatsu", "電気": "Denki", "ガス": "Gas", "情報": "Joho", "通信": "Tsushin",
    "運輸": "Unyu", "銀行": "Ginko", "保険": "Hoken", "商事": "Shoji", "工業": "Kogyo",
    "製作所": "Seisakusho", "デザイン": "Design", "ソフトウェア": "Software", "物産": "Bussan",
    "設計事務所": "Sekkei", "システムズ": "Systems", "コンサルティング": "Consulting",
    "フーズ": "Foods", "モーターズ": "Motors", "ホールディングス": "Holdings",
}  # fmt: skip
# Signs that no name of a Japanese company may contain.
_JA_SIGNS = ("○", "△", "□", "◇")
# Words that mark a Latin company name as invented.
_EN_MARKERS = ("Sample", "Specimen", "Example", "Dummy")
_JA_FORMS = {"株式会社": "Co., Ltd.", "有限会社": "Ltd.", "合同会社": "LLC"}
_JA_DEPARTMENTS = (
    "営業部", "第一営業部", "営業本部", "開発部", "技術開発部", "総務部", "人事部", "経理部",
    "広報室", "経営企画部", "企画課", "マーケティング部", "情報システム部", "品質保証部", "購買部",
    "法務部", "海外事業部", "デザイン室", "研究開発センター", "カスタマーサポート課", "製造部",
    "第一支店", "北支社", "商品企画部", "サービス事業部", "データ解析グループ",
)  # fmt: skip
_JA_TITLES = (
    "部長", "課長", "係長", "主任", "次長", "室長", "支店長", "マネージャー", "リーダー",
    "シニアエンジニア", "エンジニア", "デザイナー", "プロデューサー", "コンサルタント", "担当",
    "ディレクター", "主任研究員", "課長代理", "アドバイザー", "アカウントマネージャー",
)  # fmt: skip
_JA_HEADS = ("代表取締役", "代表取締役社長", "取締役", "常務取締役", "執行役員", "代表社員")
_JA_BUILDINGS = ("ビル", "タワー", "センタービル", "プラザ", "スクエア")
_JA_FLOORS = ("{}F", "{}階", "")
_JA_AREAS = ("03", "06", "011", "022", "045", "052", "075", "078", "082", "092", "0467", "0797")

_EN_DEPARTMENTS = (
    "Sales", "Marketing", "Engineering", "Finance", "Human Resources", "Operations", "Research",
    "Customer Success", "Product Design", "Legal Affairs", "Public Relations", "Logistics",
    "Business Development", "Data Science", "Quality Assurance", "Corporate Strategy",
)  # fmt: skip
_EN_TITLES = (
    "Manager", "Senior Manager", "Director", "Vice President", "Account Executive",
    "Project Manager", "Software Engineer", "Principal Engineer", "Consultant", "Art Director",
    "Architect", "Analyst", "Coordinator", "Team Lead", "Research Scientist", "Specialist",
)  # fmt: skip
_EN_HEADS = ("Chief Executive Officer", "Founder & CEO", "Managing Partner", "President", "Owner")
_EN_TRADES = (
    "Industries", "Partners", "Consulting", "Design Studio", "Logistics", "Systems", "& Co.",
    "Analytics", "Architects", "Foods", "Bank", "Energy", "Publishing", "Software", "Law Group",
    "Group", "Inc.", "LLC", "Ltd",
)  # fmt: skip
_EN_STREETS = (
    "Street", "Avenue", "Road", "Lane", "Drive", "Parkway", "Square", "Way", "Court", "Terrace",
)  # fmt: skip
_EN_STATES = ("QX", "ZQ", "XB", "JX", "VX", "WQ", "ZO", "YX", "KX", "RJ", "DZ", "EQ")

_MINUS = "−"
_KANJI_DIGITS = str.maketrans("0123456789-", f"〇一二三四五六七八九{_MINUS}")
_HIRAGANA = {code: code - 0x60 for code in range(ord("ァ"), ord("ヶ") + 1)}


def person_fields(language: str, seed: int) -> dict[str, str]:
    """Returns all texts that a card of this person can show, by field name.

    Args:
        language: "ja" or "en".
        seed: seed of the person.
    """
    rng = random.Random(seed)
    return _japanese(rng) if language == "ja" else _english(rng)


def _japanese(rng: random.Random) -> dict[str, str]:
    family, family_kana, family_latin = rng.choice(words.JA_FAMILY)
    given, given_kana, given_latin = rng.choice(words.JA_GIVEN)
    kana = f"{family_kana} {given_kana}"
    if rng.random() < 0.5:
        kana = kana.translate(_HIRAGANA)

    trade, trade_latin = rng.choice(tuple(_JA_TRADES.items()))
    owner, owner_latin = _japanese_word(rng)
    form, form_latin = rng.choice(
        (*_JA_FORMS.items(), ("株式会社", "Inc."), ("株式会社", "Co., Ltd."))
    )
    company = f"{owner}{rng.choice(_JA_SIGNS)}{trade}"
    company = f"{form}{company}" if rng.random() < 0.5 else f"{company}{form}"

    head = rng.random() < 1 / 6
    domain = _domain(rng, f"{owner_latin}-{trade_latin}", ("example.co.jp", "example.jp"))
    area = rng.choice(_JA_AREAS)
    number = f"{rng.randint(1, 5)}丁目{rng.randint(1, 30)}番{rng.randint(1, 20)}号"
    if rng.random() < 2 / 3:
        number = number.replace("丁目", "-").replace("番", "-").replace("号", "")
    prefecture, city, town = (rng.choice(words.JA_KANJI)[0] for _ in range(3))
    place = f"{prefecture}県{city}{rng.choice('市町')}{town}"
    floor = rng.choice(_JA_FLOORS).format(rng.randint(2, 9))
    building = _japanese_word(rng)[0] + rng.choice(_JA_BUILDINGS)
    return {
        "name": f"{family} {given}",
        "name_kana": kana,
        "name_latin": f"{given_latin} {family_latin}",
        "company": company,
        "company_latin": f"{owner_latin} {rng.choice(_EN_MARKERS)} {trade_latin} {form_latin}",
        "department": "" if head else rng.choice(_JA_DEPARTMENTS),
        "title": rng.choice(_JA_HEADS if head else _JA_TITLES),
        "postal_code": f"〒000-{_digits(rng, 4)}",
        "address": f"{place}{number}",
        "house_number": number,
        "building": f"{building}{floor}",
        "phone": _japanese_number(rng, area),
        "fax": _japanese_number(rng, area),
        "mobile": f"090-00{_digits(rng, 2)}-{_digits(rng, 4)}",
        "mail": _mailbox(rng, given_latin, family_latin) + "@" + domain,
        "url": _site(rng, domain),
    }


def _japanese_word(rng: random.Random) -> tuple[str, ...]:
    return rng.choice(words.JA_KATAKANA if rng.random() < 0.67 else words.JA_KANJI)


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def _japanese_number(rng: random.Random, area: str) -> str:
    # Ten digits in all; the local part starts with 00, which is never allocated.
    return f"{area}-00{_digits(rng, 4 - len(area))}-{_digits(rng, 4)}"


def _english(rng: random.Random) -> dict[str, str]:
    given, family = rng.choice(words.EN_GIVEN), rng.choice(words.EN_FAMILY)
    name = f"{given} {family}"
    if rng.random() < 0.25:
        name = f"{given} {rng.choice('ABCDEFGHJKLMNPRSTW')}. {family}"
    owner, marker = rng.choice(words.EN_WORDS), rng.choice(_EN_MARKERS)
    company = f"{owner} {marker} {rng.choice(_EN_TRADES)}"
    head = rng.random() < 1 / 6
    domain = _domain(
        rng, f"{owner}-{marker}", ("example.com", "example.com", "example.net", "example.org")
    )
    street = f"{rng.randint(1, 9999)} {rng.choice(words.EN_PLACES)} {rng.choice(_EN_STREETS)}"
    if rng.random() < 0.3:
        street += f" {rng.choice(('Suite', 'Apt.', 'Floor'))} {rng.randint(1, 99)}"
    zip_code = f"{rng.randint(0, 499):05}"
    area = f"{rng.randint(2, 9)}{rng.randint(2, 8)}{_digits(rng, 1)}"
    style = rng.choice(("({0}) 555-{1}", "{0}-555-{1}", "{0}.555.{1}", "+1 {0} 555 {1}"))
    phone, fax, mobile = (style.format(area, f"01{_digits(rng, 2)}") for _ in range(3))
    return {
        "name": name,
        "company": company,
        "department": "" if head else rng.choice(_EN_DEPARTMENTS),
        "title": rng.choice(_EN_HEADS if head else _EN_TITLES),
        "address": street,
        "locality": f"{rng.choice(words.EN_PLACES)}, {rng.choice(_EN_STATES)} {zip_code}",
        "phone": phone,
        "fax": fax,
        "mobile": mobile,
        "mail": _mailbox(rng, given, family) + "@" + domain,
        "url": _site(rng, domain),
    }


def _letters(text: str) -> str:
    return "".join(c for c in text.lower() if c.isascii() and (c.isalnum() or c == "-"))


def _domain(rng: random.Random, company: str, reserved: tuple[str, ...]) -> str:
    company = _letters(company)
    base = rng.choice(reserved)
    return rng.choice((base, f"{company.split('-')[0]}.{base}", f"{company}.example"))


def _mailbox(rng: random.Random, given: str, family: str) -> str:
    given, family = given.lower(), family.lower()
    return rng.choice((f"{given}.{family}", f"{given[0]}.{family}", family, f"{given[0]}-{family}"))


def _site(rng: random.Random, domain: str) -> str:
    return rng.choice(("https://{}", "www.{}", "https://www.{}")).format(domain)


def _kanji_number(digits: str) -> str:
    """Returns 1 to 99 as they are read, 十二, and longer numbers digit by digit, 八九二."""
    value = int(digits)
    if len(digits) > 2 or value == 0:
        return digits.translate(_KANJI_DIGITS)
    tens, units = divmod(value, 10)
    head = "" if tens == 0 else "十" if tens == 1 else f"{str(tens).translate(_KANJI_DIGITS)}十"
    return head + ("" if units == 0 else str(units).translate(_KANJI_DIGITS))


def for_vertical_writing(fields: dict[str, str]) -> dict[str, str]:
    """Returns `fields` with numbers in kanji, as in Japanese text from top to bottom.

    House numbers are written as they are read (十二番), postal codes and telephone numbers digit by
    digit. The middle part of a telephone number stands in brackets.
    """
    texts = dict(fields)
    texts["postal_code"] = texts["postal_code"].translate(_KANJI_DIGITS)
    for field in ("address", "house_number", "building"):
        parts, digits = [], ""
        for char in texts[field] + "\0":
            if char.isdigit() and char.isascii():
                digits += char
                continue
            if digits:
                parts.append(_kanji_number(digits))
                digits = ""
            parts.append(char)
        texts[field] = "".join(parts[:-1]).replace("-", _MINUS).replace("F", "階")
    for field in ("phone", "fax", "mobile"):
        area, local, line = texts[field].split("-")
        texts[field] = f"{area}（{local}）{line}".translate(_KANJI_DIGITS)
    return texts
