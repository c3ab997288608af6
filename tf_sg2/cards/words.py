"""The words of the cards: common personal names, and invented words for companies and places.

The invented words are few, so a test can check all of them.
"""

from __future__ import annotations

import itertools


def _table(text: str, width: int) -> tuple[tuple[str, ...], ...]:
    words = text.split()
    return tuple(tuple(words[i : i + width]) for i in range(0, len(words), width))


# Japanese names: as written, reading, Latin form.
JA_FAMILY = _table(
    """
    佐藤 サトウ Sato  鈴木 スズキ Suzuki  高橋 タカハシ Takahashi  田中 タナカ Tanaka
    伊藤 イトウ Ito  渡辺 ワタナベ Watanabe  山本 ヤマモト Yamamoto  中村 ナカムラ Nakamura
    小林 コバヤシ Kobayashi  加藤 カトウ Kato  吉田 ヨシダ Yoshida  山田 ヤマダ Yamada
    佐々木 ササキ Sasaki  山口 ヤマグチ Yamaguchi  松本 マツモト Matsumoto  井上 イノウエ Inoue
    木村 キムラ Kimura  林 ハヤシ Hayashi  斎藤 サイトウ Saito  清水 シミズ Shimizu
    山崎 ヤマザキ Yamazaki  森 モリ Mori  池田 イケダ Ikeda  橋本 ハシモト Hashimoto
    阿部 アベ Abe  石川 イシカワ Ishikawa  山下 ヤマシタ Yamashita  中島 ナカジマ Nakajima
    前田 マエダ Maeda  藤田 フジタ Fujita  小川 オガワ Ogawa  後藤 ゴトウ Goto
    岡田 オカダ Okada  長谷川 ハセガワ Hasegawa  村上 ムラカミ Murakami  近藤 コンドウ Kondo
    石井 イシイ Ishii  坂本 サカモト Sakamoto  遠藤 エンドウ Endo  青木 アオキ Aoki
    藤井 フジイ Fujii  西村 ニシムラ Nishimura  福田 フクダ Fukuda  太田 オオタ Ota
    三浦 ミウラ Miura  岡本 オカモト Okamoto  松田 マツダ Matsuda  中川 ナカガワ Nakagawa
    原田 ハラダ Harada  小野 オノ Ono  竹内 タケウチ Takeuchi  金子 カネコ Kaneko
    和田 ワダ Wada  石田 イシダ Ishida  上田 ウエダ Ueda  森田 モリタ Morita
    原 ハラ Hara  柴田 シバタ Shibata  酒井 サカイ Sakai  工藤 クドウ Kudo
    横山 ヨコヤマ Yokoyama  宮崎 ミヤザキ Miyazaki  宮本 ミヤモト Miyamoto  内田 ウチダ Uchida
    高木 タカギ Takagi  安藤 アンドウ Ando  谷口 タニグチ Taniguchi  大野 オオノ Ono
    丸山 マルヤマ Maruyama  今井 イマイ Imai  河野 コウノ Kono  藤本 フジモト Fujimoto
    """,
    3,
)
JA_GIVEN = _table(
    """
    翔太 ショウタ Shota  大輔 ダイスケ Daisuke  健太 ケンタ Kenta  拓也 タクヤ Takuya
    直樹 ナオキ Naoki  和也 カズヤ Kazuya  達也 タツヤ Tatsuya  亮 リョウ Ryo
    誠 マコト Makoto  学 マナブ Manabu  浩 ヒロシ Hiroshi  修 オサム Osamu
    隆 タカシ Takashi  聡 サトシ Satoshi  純一 ジュンイチ Junichi  健一 ケンイチ Kenichi
    裕介 ユウスケ Yusuke  雄大 ユウダイ Yudai  悠斗 ユウト Yuto  蓮 レン Ren
    湊 ミナト Minato  樹 イツキ Itsuki  大和 ヤマト Yamato  陸 リク Riku
    颯太 ソウタ Sota  義明 ヨシアキ Yoshiaki  昭彦 アキヒコ Akihiko  康平 コウヘイ Kohei
    慎也 シンヤ Shinya  正樹 マサキ Masaki  俊介 シュンスケ Shunsuke  智之 トモユキ Tomoyuki
    英樹 ヒデキ Hideki  光男 ミツオ Mitsuo  勝 マサル Masaru  豊 ユタカ Yutaka
    陽子 ヨウコ Yoko  恵子 ケイコ Keiko  裕子 ユウコ Yuko  久美子 クミコ Kumiko
    由美子 ユミコ Yumiko  真由美 マユミ Mayumi  直美 ナオミ Naomi  美穂 ミホ Miho
    智子 トモコ Tomoko  香織 カオリ Kaori  さやか サヤカ Sayaka  あゆみ アユミ Ayumi
    舞 マイ Mai  愛 アイ Ai  葵 アオイ Aoi  陽菜 ハルナ Haruna
    結衣 ユイ Yui  美咲 ミサキ Misaki  七海 ナナミ Nanami  千尋 チヒロ Chihiro
    彩 アヤ Aya  桃子 モモコ Momoko  詩織 シオリ Shiori  麻衣 マイ Mai
    明日香 アスカ Asuka  里奈 リナ Rina  優子 ユウコ Yuko  奈々 ナナ Nana
    和子 カズコ Kazuko  京子 キョウコ Kyoko  綾乃 アヤノ Ayano  沙織 サオリ Saori
    """,
    3,
)
EN_FAMILY = tuple(
    """
    Smith Johnson Williams Brown Jones Miller Davis Wilson Anderson Thomas Taylor Moore Jackson
    Martin Lee Thompson White Harris Clark Lewis Robinson Walker Young Allen King Wright Scott
    Hill Green Adams Nelson Baker Hall Campbell Mitchell Carter Roberts Phillips Evans Turner
    Parker Collins Edwards Stewart Morris Murphy Cook Rogers Morgan Cooper Reed Bailey Kelly
    Howard Ward Cox Richardson Wood Watson Brooks Bennett Gray James Hughes Price Myers Long
    Foster Sanders Ross Powell Sullivan Russell Fisher Henderson Cole Perry Garcia Martinez
    Rodriguez Hernandez Lopez Gonzalez Perez Sanchez Ramirez Torres Nguyen Flores Rivera Diaz
    """.split()
)
EN_GIVEN = tuple(
    """
    James John Robert Michael William David Richard Joseph Thomas Charles Daniel Matthew Anthony
    Mark Paul Steven Andrew Kenneth Joshua Kevin Brian George Timothy Jason Edward Jeffrey Ryan
    Jacob Gary Nicholas Eric Jonathan Stephen Larry Justin Scott Brandon Benjamin Samuel Gregory
    Frank Patrick Raymond Jack Dennis Jerry Tyler Aaron Mary Patricia Jennifer Linda Elizabeth
    Barbara Susan Jessica Sarah Karen Lisa Nancy Betty Sandra Margaret Ashley Kimberly Emily
    Donna Michelle Carol Amanda Melissa Deborah Stephanie Rebecca Laura Sharon Cynthia Kathleen
    Amy Angela Shirley Anna Brenda Pamela Emma Nicole Helen Samantha Katherine Christine Rachel
    """.split()
)


def _words(*tables) -> tuple[tuple[str, ...], ...]:
    """Every choice of one part per table, joined: as written, and the Latin form."""
    choices = itertools.product(*(_table(table, 2) for table in tables))
    return tuple(tuple(map("".join, zip(*parts, strict=True))) for parts in choices)


# Invented words: as written, Latin form.
JA_KATAKANA = _words(
    "ヴェ Ve ギュ Gyu ツォ Tso ピョ Pyo ズィ Zi フュ Fyu ニェ Nye ドゥ Du ミャ Mya "
    "ヌォ Nuo ビョ Byo グァ Gwa",
    "ルモ rumo ニカ nika ドリ dori ペチ pechi ソナ sona ムク muku ラメ rame ガロ garo テヌ tenu "
    "ポラ pora ゼミ zemi ワケ wake",
    "ット tto リム rimu ゾン zon ネル neru ダム damu クス kusu ヴァ va ピト pito "
    "ロッカ rokka ジェン jen",
)
JA_KANJI = _words(
    "雫 Shizuku 霰 Arare 梟 Fukuro 鯨 Kujira 薊 Azami 橙 Daidai 狐 Kitsune 鴎 Kamome 苔 Koke "
    "蛍 Hotaru 葦 Ashi 蓑 Mino",
    "砦 toride 舵 kaji 鏡 kagami 筆 fude 帆 ho 杭 kui 梯 hashigo 盃 sakazuki 鋏 basami 暦 goyomi "
    "匙 saji 錨 ikari",
)


def _english(*tables: str) -> tuple[str, ...]:
    return tuple(map("".join, itertools.product(*(table.split() for table in tables))))


EN_WORDS = _english(
    "Vond Quarl Zebr Thrax Wimb Yolv Blenk Droz Fliv Grund Hesp Jarv Klem Plosk Snark Ulb",
    "el or ast im und av eth ock",
    "ix ara umo andt ique ostra elm yne onta ug",
)
EN_PLACES = _english(
    "Brask Quor Velm Thrand Wexil Zorn Yulb Hosk Ondr Plim Drosk Glamf Snib Murk",
    "abury enfold ithwaite umbeck orrowton ellville addock omwich",
)
