"""The texts of a dummy card: a person who does not exist, at a company that does not exist.

Names, towns and buildings come from Faker, shuffled so that no address can exist (prefecture, city
and town are drawn independently). What could reach somebody cannot:

* Mail and web addresses use domains reserved for documentation: example.com/.net/.org and the
  `.example` top level (RFC 2606), and example.jp and example.co.jp (reserved by JPRS).
* US numbers use 555-0100 to 555-0199, set aside for fiction in every area code.
* Japan has set no such range aside. Behind a Japanese area code, and behind 090, no subscriber
  number starts with 0, the trunk prefix; so all numbers here start with 00 there, and can be
  neither dialled nor allocated.

Texts are the same for the same seed under one version of Faker; its tables may grow.
"""

from __future__ import annotations

import threading
from functools import cache

from faker import Faker

# Faker is seeded and drawn from in one go, by one thread at a time.
_lock = threading.Lock()

# Company words with their reading, for the mail domain and the Latin name.
_JA_TRADES = {
    "水産": "Suisan", "農林": "Norin", "鉱業": "Kogyo", "建設": "Kensetsu", "食品": "Shokuhin",
    "印刷": "Insatsu", "電気": "Denki", "ガス": "Gas", "情報": "Joho", "通信": "Tsushin",
    "運輸": "Unyu", "銀行": "Ginko", "保険": "Hoken", "商事": "Shoji", "工業": "Kogyo",
    "製作所": "Seisakusho", "デザイン": "Design", "ソフトウェア": "Software", "物産": "Bussan",
    "設計事務所": "Sekkei", "システムズ": "Systems", "コンサルティング": "Consulting",
    "フーズ": "Foods", "モーターズ": "Motors", "ホールディングス": "Holdings",
}  # fmt: skip
# Names that say themselves that nobody is meant.
_JA_DUMMIES = {
    "見本": "Mihon", "サンプル": "Sample", "ダミー": "Dummy", "架空": "Kakuu",
    "ひながた": "Hinagata", "テンプレート": "Template",
}  # fmt: skip
_JA_FORMS = {"株式会社": "Co., Ltd.", "有限会社": "Ltd.", "合同会社": "LLC"}
_JA_DEPARTMENTS = (
    "営業部", "第一営業部", "営業本部", "開発部", "技術開発部", "総務部", "人事部", "経理部",
    "広報室", "経営企画部", "企画課", "マーケティング部", "情報システム部", "品質保証部", "購買部",
    "法務部", "海外事業部", "デザイン室", "研究開発センター", "カスタマーサポート課", "製造部",
    "東京支店", "大阪支社", "商品企画部", "サービス事業部", "データ解析グループ",
)  # fmt: skip
_JA_TITLES = (
    "部長", "課長", "係長", "主任", "次長", "室長", "支店長", "マネージャー", "リーダー",
    "シニアエンジニア", "エンジニア", "デザイナー", "プロデューサー", "コンサルタント", "担当",
    "ディレクター", "主任研究員", "課長代理", "アドバイザー", "アカウントマネージャー",
)  # fmt: skip
_JA_HEADS = ("代表取締役", "代表取締役社長", "取締役", "常務取締役", "執行役員", "代表社員")
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

_KANJI_DIGITS = str.maketrans("0123456789-", "〇一二三四五六七八九−")
_HIRAGANA = {code: code - 0x60 for code in range(ord("ァ"), ord("ヶ") + 1)}


@cache
def _faker(locale: str) -> Faker:
    return Faker(locale)


def person_fields(language: str, seed: int) -> dict[str, str]:
    """Returns every text a card of this person could show, by field name.

    Args:
        language: "ja" or "en".
        seed: of this person.
    """
    with _lock:
        fake = _faker("ja_JP" if language == "ja" else "en_US")
        fake.seed_instance(seed)
        return _japanese(fake) if language == "ja" else _english(fake)


def _pick(fake: Faker, choices) -> str:
    return fake.random_element(tuple(choices))


def _japanese(fake: Faker) -> dict[str, str]:
    family, family_kana, family_latin = fake.last_name_pair()
    given, given_kana, given_latin = fake.first_name_pair()
    kana = f"{family_kana} {given_kana}"
    if fake.random_int(0, 1):
        kana = kana.translate(_HIRAGANA)

    trade, trade_latin = _pick(fake, _JA_TRADES.items())
    if fake.random_int(0, 3) == 0:
        owner, owner_latin = _pick(fake, _JA_DUMMIES.items())
    else:
        owner, _, owner_latin = fake.last_name_pair()
    form, form_latin = _pick(
        fake, (*_JA_FORMS.items(), ("株式会社", "Inc."), ("株式会社", "Co., Ltd."))
    )
    company = f"{form}{owner}{trade}" if fake.random_int(0, 1) else f"{owner}{trade}{form}"

    head = fake.random_int(0, 5) == 0
    domain = _domain(fake, f"{owner_latin}-{trade_latin}", ("example.co.jp", "example.jp"))
    area = _pick(fake, _JA_AREAS)
    number = f"{fake.random_int(1, 5)}丁目{fake.random_int(1, 30)}番{fake.random_int(1, 20)}号"
    if fake.random_int(0, 2):
        number = number.replace("丁目", "-").replace("番", "-").replace("号", "")
    town = _pick(fake, ("", fake.prefecture())) + fake.city() + fake.town()
    floor = _pick(fake, _JA_FLOORS).format(fake.random_int(2, 9))
    building = fake.town() + _pick(fake, ("ビル", "タワー", "センタービル", "プラザ", "スクエア"))
    return {
        "name": f"{family} {given}",
        "name_kana": kana,
        "name_latin": f"{given_latin} {family_latin}",
        "company": company,
        "company_latin": f"{owner_latin} {trade_latin} {form_latin}",
        "department": "" if head else _pick(fake, _JA_DEPARTMENTS),
        "title": _pick(fake, _JA_HEADS if head else _JA_TITLES),
        "postal_code": f"〒{fake.random_int(1, 999):03}-{fake.random_int(0, 9999):04}",
        "address": town + number,
        "house_number": number,
        "building": f"{building}{floor}",
        "phone": _japanese_number(fake, area),
        "fax": _japanese_number(fake, area),
        "mobile": f"090-00{fake.random_int(0, 99):02}-{fake.random_int(0, 9999):04}",
        "mail": _mailbox(fake, given_latin, family_latin) + "@" + domain,
        "url": _site(fake, domain),
    }


def _japanese_number(fake: Faker, area: str) -> str:
    # Ten digits in all; the local part starts with 00, which is never allocated.
    local = "00" + "".join(str(fake.random_digit()) for _ in range(4 - len(area)))
    return f"{area}-{local}-{fake.random_int(0, 9999):04}"


def _english(fake: Faker) -> dict[str, str]:
    given, family = fake.first_name(), fake.last_name()
    name = f"{given} {family}"
    if fake.random_int(0, 3) == 0:
        name = f"{given} {fake.random_uppercase_letter()}. {family}"
    owner = fake.last_name()
    company = _pick(fake, (fake.company(), f"{owner} {_pick(fake, _EN_COMPANY_WORDS)}"))
    if fake.random_int(0, 4) == 0:
        company = f"{_pick(fake, ('Sample', 'Example', 'Dummy'))} {_pick(fake, _EN_COMPANY_WORDS)}"
    slug = company.replace(" and ", " ").replace(",", "").replace("-", " ").split()
    head = fake.random_int(0, 5) == 0
    domain = _domain(
        fake, "-".join(slug[:2]), ("example.com", "example.com", "example.net", "example.org")
    )
    area = f"{fake.random_int(2, 9)}{fake.random_int(2, 8)}{fake.random_digit()}"
    style = _pick(fake, ("({0}) 555-{1}", "{0}-555-{1}", "{0}.555.{1}", "+1 {0} 555 {1}"))
    numbers = [style.format(area, f"01{fake.random_int(0, 99):02}") for _ in range(3)]
    return {
        "name": name,
        "company": company,
        "department": "" if head else _pick(fake, _EN_DEPARTMENTS),
        "title": _pick(fake, _EN_HEADS if head else _EN_TITLES),
        "address": fake.street_address(),
        "locality": f"{fake.city()}, {fake.state_abbr()} {fake.postcode()}",
        "phone": numbers[0],
        "fax": numbers[1],
        "mobile": numbers[2],
        "mail": _mailbox(fake, given, family) + "@" + domain,
        "url": _site(fake, domain),
    }


_EN_COMPANY_WORDS = (
    "Industries", "Partners", "Consulting", "Design Studio", "Logistics", "Systems", "& Co.",
    "Analytics", "Architects", "Foods", "Bank", "Energy", "Publishing", "Software", "Law Group",
)  # fmt: skip


def _letters(text: str) -> str:
    return "".join(c for c in text.lower() if c.isascii() and (c.isalnum() or c == "-"))


def _domain(fake: Faker, company: str, reserved: tuple[str, ...]) -> str:
    company = _letters(company).strip("-")
    base = _pick(fake, reserved)
    return _pick(fake, (base, f"{company.split('-')[0]}.{base}", f"{company}.example"))


def _mailbox(fake: Faker, given: str, family: str) -> str:
    given, family = _letters(given), _letters(family)
    return _pick(
        fake, (f"{given}.{family}", f"{given[0]}.{family}", family, f"{given[0]}-{family}")
    )


def _site(fake: Faker, domain: str) -> str:
    return _pick(fake, ("https://{}", "www.{}", "https://www.{}")).format(domain)


def _kanji_number(digits: str) -> str:
    """1 to 99 as read, 十二; more digits one by one, 八九二."""
    value = int(digits)
    if len(digits) > 2 or value == 0:
        return digits.translate(_KANJI_DIGITS)
    tens, units = divmod(value, 10)
    head = "" if tens == 0 else "十" if tens == 1 else f"{str(tens).translate(_KANJI_DIGITS)}十"
    return head + ("" if units == 0 else str(units).translate(_KANJI_DIGITS))


def for_vertical_writing(fields: dict[str, str]) -> dict[str, str]:
    """Returns `fields` with numbers in kanji, as Japanese is set from top to bottom.

    House numbers are read (十二番), postal codes and telephone numbers spelled digit by digit, and
    the local part of a telephone number stands in brackets.
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
        texts[field] = "".join(parts[:-1]).replace("-", "−").replace("F", "階")
    for field in ("phone", "fax", "mobile"):
        area, local, line = texts[field].split("-")
        texts[field] = f"{area}（{local}）{line}".translate(_KANJI_DIGITS)
    return texts
