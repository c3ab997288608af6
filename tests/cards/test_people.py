"""Tests of `tf_sg2.cards.people`: no person can be reached, and no company or place exists."""

from __future__ import annotations

import re

import pytest

from tf_sg2.cards.people import for_vertical_writing, person_fields

COUNT = 20_000
PREFECTURES = """
北海道 青森県 岩手県 宮城県 秋田県 山形県 福島県 茨城県 栃木県 群馬県 埼玉県 千葉県 東京都
神奈川県 新潟県 富山県 石川県 福井県 山梨県 長野県 岐阜県 静岡県 愛知県 三重県 滋賀県 京都府
大阪府 兵庫県 奈良県 和歌山県 鳥取県 島根県 岡山県 広島県 山口県 徳島県 香川県 愛媛県 高知県
福岡県 佐賀県 長崎県 熊本県 大分県 宮崎県 鹿児島県 沖縄県
""".split()
# States, territories and military codes of the United States, provinces of Canada.
POSTAL_STATES = set(
    """
    AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY
    NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY DC AS GU MP PR VI UM FM MH PW AA AE AP
    AB BC MB NB NL NS NT NU ON PE QC SK YT
    """.split()
)
# Well-known firms; an invented word contains none of them.
FIRMS = """
ソニー トヨタ ホンダ ニッサン マツダ スバル スズキ ヤマハ キヤノン ニコン リコー カシオ シャープ
パナソニック コマツ クボタ ダイキン ブリヂストン ユニクロ ライオン ロッテ カルビー キリン アサヒ
サントリー サッポロ カゴメ キッコーマン ヤクルト ブルボン グリコ ニトリ イオン ローソン セブン
ドコモ ソフトバンク ヤフー メルカリ サイバー グーグル アマゾン マイクロソフト アップル インテル
シスコ オラクル ドゥカティ ツムラ ルネサス ヤマト ゼンリン ムラタ オムロン キーエンス ファナック
テルモ エーザイ ツルハ ゼネラル ポーラ ベルク ソナス ワコール ラオックス sony toyota honda nissan
mazda subaru suzuki yamaha canon nikon ricoh casio sharp panasonic komatsu kubota daikin uniqlo
google amazon microsoft apple intel cisco oracle nvidia tesla boeing walmart target costco pepsi
nestle unilever siemens bosch philips nokia ericsson samsung hyundai daimler volvo ikea adidas
nike puma zara visa mastercard paypal citi chase wells morgan goldman fedex uber lyft airbnb
netflix disney comcast verizon spotify adobe salesforce zendesk dropbox slack zoom qualcomm
broadcom micron seagate xerox kodak pfizer merck bayer roche novartis sanofi exxon chevron shell
ford chrysler jeep dodge ferrari ducati bentley rover delta united ryanair lufthansa
""".split()


@pytest.fixture(scope="module")
def japanese():
    return [person_fields("ja", seed) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def english():
    return [person_fields("en", seed) for seed in range(COUNT)]


def unlike(people, field, pattern):
    """Returns the first few values of the field that do not match the form completely."""
    return [p[field] for p in people if not re.fullmatch(pattern, p[field])][:3]


def test_no_japanese_firm_can_be_registered(japanese):
    """The name contains a sign that the commercial register does not allow."""
    form = "(株式会社|有限会社|合同会社)"
    word = r"[ぁ-んァ-ヶー一-龠]+[○△□◇][ァ-ヶー一-龠]+"
    assert not unlike(japanese, "company", f"{form}{word}|{word}{form}")


def test_latin_names_of_firms_say_that_they_are_samples(japanese, english):
    pattern = r"[A-Z][a-z]+ (Sample|Specimen|Example|Dummy) [A-Za-z.,& ]+"
    assert not unlike(japanese, "company_latin", pattern)
    assert not unlike(english, "company", pattern)


def test_japanese_addresses_lie_in_no_prefecture(japanese):
    for person in japanese:
        address = person["address"]
        assert not address.startswith(tuple(PREFECTURES)), address
        # Nor is the name of one anywhere in it.
        assert not any(name in address for name in PREFECTURES), address
    assert len(PREFECTURES) == 47
    number = r"\d丁目\d+番\d+号|\d-\d+-\d+"
    assert not unlike(
        japanese, "address", rf"[一-龠]{{2}}県[一-龠]{{2}}[市町][一-龠]{{2}}({number})"
    )


def test_american_addresses_lie_in_no_state(english):
    for person in english:
        state, zip_code = person["locality"].split(", ")[1].split()
        assert state not in POSTAL_STATES, person["locality"]
        # Holtsville, 00501, has the lowest ZIP code.
        assert re.fullmatch(r"00[0-4]\d\d", zip_code), person["locality"]


def test_japanese_postal_codes_are_not_assigned(japanese):
    """The lowest code is 001-0000."""
    assert not unlike(japanese, "postal_code", r"〒000-\d{4}")


def test_japanese_numbers_are_not_assigned(japanese):
    """Local numbers start with 2 to 9; no 0 follows 090."""
    for field in ("phone", "fax"):
        assert not unlike(japanese, field, r"0[1-9]\d{0,2}-00\d{0,2}-\d{4}")
        assert {len(person[field].replace("-", "")) for person in japanese} == {10}
    assert not unlike(japanese, "mobile", r"090-00\d\d-\d{4}")


def test_american_numbers_are_set_aside_for_fiction(english):
    pattern = r"(\(\d{3}\) |\d{3}[-.]|\+1 \d{3} )555[-. ]01\d\d"
    for field in ("phone", "fax", "mobile"):
        assert not unlike(english, field, pattern)


def test_mail_and_web_addresses_use_reserved_domains(japanese, english):
    host = r"([a-z-]+\.)?example\.(com|net|org|jp|co\.jp)|[a-z-]+\.example"
    for people in (japanese, english):
        assert not unlike(people, "mail", rf"[a-z.-]+@({host})")
        assert not unlike(people, "url", rf"(https://)?(www\.)?({host})")


def test_invented_words_name_no_firm_and_no_person():
    """Checks all words of the tables, so all companies, buildings, towns and streets."""
    from tf_sg2.cards import words

    invented = {part for word in (*words.JA_KATAKANA, *words.JA_KANJI) for part in word}
    invented |= {*words.EN_WORDS, *words.EN_PLACES}
    assert len(invented) > 4000
    text = "\n".join(word.lower() for word in invented)
    assert not [firm for firm in FIRMS if len(firm) > 3 and firm in text]
    lowered = {word.lower() for word in invented}
    assert not lowered & set(FIRMS)
    names = {part.lower() for row in (*words.JA_FAMILY, *words.JA_GIVEN) for part in row}
    names |= {name.lower() for name in (*words.EN_FAMILY, *words.EN_GIVEN)}
    assert not lowered & names


def test_tables_of_names_are_whole():
    from tf_sg2.cards import words

    for row in (*words.JA_FAMILY, *words.JA_GIVEN):
        written, kana, latin = row
        assert re.fullmatch(r"[ぁ-ん一-龠々]+", written), row
        assert re.fullmatch(r"[ァ-ヶー]+", kana), row
        assert re.fullmatch(r"[A-Z][a-z]+", latin), row
    for row in words.JA_KATAKANA:
        assert re.fullmatch(r"[ァ-ヶー]+", row[0]), row
        assert re.fullmatch(r"[A-Z][a-z]+", row[1]), row


def test_texts_vary(japanese, english):
    for people, companies in ((japanese, 15_000), (english, 15_000)):
        assert len({person["company"] for person in people}) > companies
        assert len({person["name"] for person in people}) > 4000


def test_person_is_the_same_for_the_same_seed(japanese):
    assert person_fields("ja", 17) == japanese[17] != japanese[18]


def test_vertical_writing_keeps_every_digit(japanese):
    digits = str.maketrans("〇一二三四五六七八九（）", "0123456789--")
    for person in japanese[:500]:
        vertical = for_vertical_writing(person)
        for field in ("phone", "fax", "mobile"):
            assert vertical[field].translate(digits) == person[field]
