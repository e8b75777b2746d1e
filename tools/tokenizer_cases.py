"""The texts on which tokenizers differ when they differ at all: every script, emoji, digits, blanks,
contractions, combining marks, control characters, look-alikes of special tokens, broken UTF-8."""
import unicodedata

ZWJ, VS16 = "\u200d", "\ufe0f"

SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. STRASSE Straße ẞ",
    "Portez ce vieux whisky au juge blond qui fume; l'œuvre s'achève où l'été naît.",
    "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia. ¿Qué? ¡Sí!",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ὀδυσσεύς ᾠδή ῥόδον",
    "דג סקרן שט בים מאוכזב ולפתע מצא חברה. שָׁלוֹם",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر. مُحَمَّدٌ ١٢٣٤",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण। १२३ क्षत्रिय",
    "আমি কাঁচ খেতে পারি। তাতে আমার কোনো ক্ষতি হয় না। ৭৮",
    "நான் கண்ணாடி சாப்பிடுவேன், அதனால் எனக்கு ஒரு கேடும் வராது.",
    "ฉันกินกระจกได้ แต่มันไม่ทำให้ฉันเจ็บ ๑๒๓",
    "ຂອ້ຍກິນແກ້ວໄດ້ໂດຍທີ່ມັນບໍ່ໄດ້ເຮັດໃຫ້ຂອ້ຍເຈັບ",
    "က္ယ္ဝန္တော္၊က္ယ္ဝန္မ မ္ယက္စားနုိင္သည္။ ၁၂",
    "ខ្ញុំអាចញុំកញ្ចក់បាន ដោយគ្មានបញ្ហា ១២៣",
    "མ་ཤེལ་ཟ་ན་ང་ན་གི་མ་རེད་ ༡༢",
    "მინას ვჭამ და არა მტკივა. ᲛᲘᲜᲐᲡ",
    "Կրնամ ապակի ուտել և ինծի անհանգիստ չըներ։",
    "ᎠᎩᏍᏗ ᎭᏫ ꮳꮃꭹ",
    "我能吞下玻璃而不伤身体。中文，测试！《红楼梦》第１２回",
    "私はガラスを食べられます。それは私を傷つけません。ｶﾞﾗｽ ヴ ゔ ー々〆",
    "나는 유리를 먹을 수 있어요. 그래도 아프지 않아요. 한글 ㄱㄴㄷ",
    "Tôi có thể ăn thủy tinh mà không hại gì. Tiếng Việt ơ ư đ",
    "እኔ መስታወት መብላት እችላለሁ ፲፪",
    "ᐊᓕᒍᖅ ᓂᕆᔭᕌᖓᒃᑯ ᓱᕋᙱᑦᑐᓐᓇᖅᑐᖓ",
    "ᠪᠢ ᠰᠢᠯᠢ ᠢᠳᠡᠵᠦ ᠴᠢᠳᠠᠨᠠ\u180e ᠦᠭᠡᠢ",
    "ⵜⴰⵎⴰⵣⵉⵖⵜ ߒߞߏ ꆈꌠꉙ ꓡꓲꓢꓴ",
]

CASES = [
    "", " ", "  ", "a", " a", "a ", "\n", "\n\n", "\r\n", "\r", "\t", "\t\t", " \n", "\n ", "0", "\0", "\u2581", "\u2581\u2581a \u2581 b",
    # English, contractions, case
    "I'm you're he's we'll they'd don't I've", "I'M YOU'RE HE'S WE'LL THEY'D DON'T I'VE", "'s't're've'm'll'd",
    "it\u2019s don\u2019t 'tis ''s '\u017f '\u017ft 'L\u017f \u212aelvin 'RE'ad", " 's 't' 're", "O'Reilly's rock'n'roll y'all'd've",
    "camelCaseWords PascalCase snake_case_words kebab-case-words SCREAMING_CASE mixedUP Xml2Json HTTPServer",
    "Hello, World! How are you?? Fine... (really) [yes] {no} <tag> \"quoted\" 'single' `code`", "http://example.com/a/b?c=d&e=%20#frag user@mail.org",
    "for (int i = 0; i < n; ++i) {\n    sum += a[i] * b[i];  // dot\n\treturn;\n}\n", "def f(x):\n    return x**2 + 3.14e-10 if x != 0 else None\n\n\n\nclass A:\n\tpass",
    "$100 100% #1 a+b=c x<y>z ~tilde ^caret | pipe \\ backslash a`b === !== <=> +++ ---", "...!?!?,,,;;;::: -- --- \u2013 \u2014 \u2026 \u00ab\u00bb \u201c\u201d \u2018\u2019",
    # digits
    "1 12 123 1234 12345 123456 1234567890", "3.14159 1,000,000 1e10 0xDEADBEEF 007 2024-02-29 12:34:56", "a1b2c3 v1.2.3 H2O CO2 x86_64 10th 1st", "\u0663\u0664\u0665 \u0967\u0968\u0969 \uff11\uff12\uff13 \u2460\u2461 \u2163 \u00bd \u00b2\u00b3 \u4e00\u4e8c\u4e09 \u0e51\u0e52 \U0001d7ce\U0001d7cf \U00010107 \u3289",
    " 1  2   3    4", "12 345 6789 \n 1\n22\n333",
    # blanks
    "a  b   c    d     e      f", "a" + " " * 15 + "b", "a" + " " * 16 + "b", " " * 31, " " * 30 + "x", " " * 31 + "x", " " * 32 + "x", " " * 33, " " * 64 + "y", "x" + " " * 100 + "y" + " " * 3,
    "a\tb\t\tc\t\t\td" + "\t" * 40 + "e", "line one\nline two\n\nline four\n\n\n\nend\n", "crlf\r\nline\r\n\r\nend\r\n", "mixed \n \t\n  \r\n\t x", "\n" * 31, "\n" * 40 + "z", "trailing   ", "trailing \n", "   leading", "\n leading", "\t leading", " \t \t mix \t ",
    "nbsp\u00a0here\u00a0\u00a0x en\u2002em\u2003thin\u2009hair\u200a figure\u2007 ideographic\u3000x ogham\u1680x nel\u0085x ls\u2028ps\u2029x nnbsp\u202fx mmsp\u205fx", "zwsp\u200bzwnj\u200czwj\u200dwj\u2060bom\ufeffx shy\u00adx mvs\u180ex", "\ufeffBOM first", "vt\x0bff\x0cfs\x1cgs\x1drs\x1eus\x1fx",
    # combining marks, normalisation
    "e\u0301 \u00e9 n\u0303 \u00f1 A\u030a \u00c5 \u212b \u1e9b\u0323 q\u0307\u0323 o\u0302\u0323", "Z\u0351\u036b\u0343a\u0309\u030alg\u0315\u0358o\u0334\u0321!", "\u1100\u1161\u11a8 \u1112\u1161\u11ab\u1100\u1173\u11af \ud55c\uae00", "\u0958 \u0915\u093c \u0344 \u0340 \u2126 \u03a9 \u212a K \uf900 \u8c48", "\u0301leading mark \u0301 \u20dd a\u20dd", "\ufb01 \ufb03 \u01c4 \u01c5 \u0132 \u00df \u1e9e \u017f",
    # emoji
    "\U0001f600\U0001f602\U0001f923 \U0001f44d\U0001f3fd \u2764" + VS16 + " \u2764", "\U0001f468" + ZWJ + "\U0001f469" + ZWJ + "\U0001f467" + ZWJ + "\U0001f466 \U0001f469\U0001f3ff" + ZWJ + "\U0001f680 \U0001f3f3" + VS16 + ZWJ + "\U0001f308 \U0001f9d1\U0001f3fb" + ZWJ + "\U0001f91d" + ZWJ + "\U0001f9d1\U0001f3fc", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7\U0001f1ef\U0001f1f5 1" + VS16 + "\u20e3 #" + VS16 + "\u20e3 \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "text\U0001f642text \U0001f642\U0001f642 \U0001fae8\U0001faf7\U0001fac6\U0001fadf\U0001fae9 \u2122\u00a9\u00ae\u2714\u2794", "\u2200x\u2208\u211d: \u2211\u2080\u207f x\u00b2 \u2264 \u221e \u21d2 \u222b f(x)dx \u2248 \u03c0\u00b7r\u00b2 \U0001d400\U0001d4b3\U0001d54f", "\u20ac\u00a3\u00a5\u20b9\u20bf \u250c\u2500\u2510\u2502\u2588\u2591 \u2669\u266b \u2654\u265f \u2603 \u263a",
    # right to left, mixed direction
    "abc \u202eevil\u202c \u200fdef\u200e \u2066x\u2069 \u05d0\u05d1\u05d2 123 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 (test)", "\u0644\u0627 \ufefb \u0627\u0651\u064e \u0671 \ufdfa \ufdfd",
    # planes, private use, non-characters, newer Unicode
    "\ue000\uf8ff \U000f0000\U0010fffd \ufffe\uffff \U0001fffe\U0010ffff \ufdd0", "\U00020000\U0002a6d6 \U0002b739\U0002ebf0 \U00031350\U000323af \u3007 \u2f00 \u2e80 \u31c0 \u31ef \u2ffc", "\U00011f04\U00011f50 \U0001e4d0\U0001e4f0 \U0001e030 \U00010d4a\U00010d40 \U000105c0 \U00016d40\U00016d70 \u1c89\u1c8a \ua7cb\ua7da \U00011bc0\U00011bf0 \U0001ccf0\U0001cc00 \U00016130 \U00011de0 \U00016ff4 \U00013460", "\ufffd replacement \ufffd\ufffd \ufffc \ufff9",
    # control characters
    "".join(map(chr, range(1, 32))) + "\x7f", "".join(map(chr, range(0x80, 0xa0))), "nul\0in\0side \x1b[31mred\x1b[0m \x07\x08",
    "".join(map(chr, range(0x20, 0x7f))), "".join(map(chr, range(0xa0, 0x180))),
    # look-alikes of special tokens
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n", "<|endoftext|>x<|endoftext|><|endoftext|>", "<|im_start |> <|im_start| <im_start> <||> <|im_end|", "  <|im_end|>  x  <|im_end|>\n", "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n", "<s>[INST] x [/INST]</s> <unk> <pad> <eos> <mask> [multimodal] <unused0> <unused99> <unused9", "<0x0A> <0x41><0xFF> <0xZZ> <table><tr><td>x</td></tr></table> <h1>t</h1> <br> <a href=\"x\"> <start_of_image> </start_of_image>", "<repo_name>x<file_sep>y<gh_stars>0 <empty_output><empty_output >", "<<|im_end|>> <bo<bos>s>",
    # long words
    "a" * 200, "ab" * 150, "supercalifragilisticexpialidocious" * 5, "\u4e2d" * 120, "\U0001f600" * 40, "the" * 60, "!" * 130, "=" * 77 + "\n" + "-" * 80, "1" * 60, "." * 33 + " " + "_" * 50, "aA" * 40, "\u00e9" * 50, "\u0915\u094d" * 30,
    "Base64: SGVsbG8sIFdvcmxkIQ== 5d41402abc4b2a76b9719d911017c592 AbCdEfGh123XyZ/+",
    " \u3000\u3000\u4e2d\u6587 \u3001\u3002\uff0c\uff01 \u3042\u30a2\u30fc", "a\u3000b \u2018x\u201d \u201c \uff5e\uff01/ :; [`{~",
]

BROKEN = [
    b"\x80", b"\xff\xfe", b"abc\xffdef", b"\xc0\xaf \xc1\x81", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x82x", b"\xe2(\xa1", b"\xed\xa0\x80", b"\xed\xa0\xbd\xed\xb8\x80", b"\xed\xbf\xbf x", b"\xf0\x9f\x98", b"\xf0\x9f\x98 \xf0\x9f", b"\xf0\x80\x80\xaf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"ok \xe2\x82\xac\xe2\x82 bad \xf0\x9f\x98\x80\xf0\x9f\x98", bytes(range(0x80, 0x100)), b"\xe4\xb8\xad\xe6\x96 \xe4\xb8", b"<|im_\xffstart|>", b"\xc3\xa9\xcc", b"\xef\xbb\xbfbom\xef\xbb",
]


def scripts():
    """Three letters of every script, known by the first word of their names, and two of its digits."""
    letters, digits = {}, {}
    for point in range(0x110000):
        c = chr(point)
        kind = unicodedata.category(c)
        if kind[0] not in "LMN" or point in range(0x3400, 0xA000) or point in range(0xAC00, 0xD7A4):
            continue
        name = unicodedata.name(c, "")
        if not name or name.startswith("CJK"):
            continue
        (digits if kind[0] == "N" else letters).setdefault(name.split()[0].split("-")[0], []).append(c)
    words = []
    for script in sorted(letters):
        some = letters[script]
        words.append("".join(some[:2] + some[len(some) // 2 : len(some) // 2 + 1]) + "".join(digits.get(script, [])[:2]))
    return [" ".join(words[i : i + 24]) for i in range(0, len(words), 24)]


def cases():
    """All of them, as bytes."""
    return [t.encode("utf-8") for t in CASES + SENTENCES + scripts()] + BROKEN
